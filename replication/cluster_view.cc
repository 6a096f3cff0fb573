#include "replication/cluster_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "replication/setting_value.h"
#include "wire/limits.h"

namespace tidelog::replication {

Result<> check_topic_name(std::string_view name) {
  const auto refuse = [name](std::string_view why) {
    return fail(ErrorCode::kInvalidTopicName,
                fmt::format("'{}' is no topic name: {}", name.substr(0, 300), why));
  };
  if (name.empty()) return refuse("it is empty");
  if (name.size() > wire::kTopicNameBytesMax) return refuse("it is longer than 249 characters");
  if (name == "." || name == "..") return refuse("file systems reserve it");
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!std::ranges::all_of(name, allowed)) {
    return refuse("only letters, digits, '.', '_' and '-' are allowed");
  }
  return {};
}

const TopicView* ClusterView::find(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second.get();
}

const TopicView* ClusterView::find(const TopicId& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : at->second.get();
}

std::vector<std::string> ClusterView::closest_names(std::string_view name) const {
  std::vector<std::string_view> names;
  names.reserve(by_name_.size());
  for (const auto& [known, topic] : by_name_) names.push_back(known);
  return replication::closest_names(name, names, 3);
}

void ClusterView::insert(std::shared_ptr<const TopicView> topic) {
  // A topic that was made again under its name has another id: the old one must not stay findable.
  if (const auto old = by_name_.find(topic->name); old != by_name_.end()) {
    by_id_.erase(old->second->id);
  }
  by_id_.insert_or_assign(topic->id, topic);
  by_name_.insert_or_assign(topic->name, std::move(topic));
}

void ClusterView::erase(const TopicId& id) {
  const auto at = by_id_.find(id);
  if (at == by_id_.end()) return;
  by_name_.erase(at->second->name);
  by_id_.erase(at);
}

}  // namespace tidelog::replication
