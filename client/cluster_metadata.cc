#include "client/cluster_metadata.h"

#include <utility>

#include "wire/limits.h"

namespace tidelog::client_core {

ClusterMetadata::ClusterMetadata(Executor& executor, BrokerPool& pool, Options options,
                                 std::uint64_t seed)
    : executor_(executor),
      pool_(pool),
      inquiry_(executor, pool, wire::ApiKey::kMetadata, "no metadata",
               {.request_timeout = options.request_timeout,
                .backoff_min = options.backoff_min,
                .backoff_max = options.backoff_max,
                .interval_min = options.backoff_min},
               seed),
      patience_(options.backoff_min, options.backoff_max, ~seed),
      age_max_(options.age_max) {
  inquiry_.on_turn([this] { return next_page(); },
                   [this](const SharedBytes& table) { return take(table); });
}

ClusterMetadata::~ClusterMetadata() {
  executor_.cancel(patience_timer_);
  executor_.cancel(age_timer_);
}

void ClusterMetadata::want(const std::string& name) {
  if (!wanted_.insert(name).second && topics_.contains(name)) return;
  refresh();
}

void ClusterMetadata::forget(const std::string& name) {
  wanted_.erase(name);
  topics_.erase(name);
}

const Topic* ClusterMetadata::find(std::string_view name) const {
  const auto at = topics_.find(name);
  return at != topics_.end() ? &at->second : nullptr;
}

void ClusterMetadata::refresh() {
  due_ = true;
  if (!wanted_.empty()) inquiry_.ask();
}

void ClusterMetadata::refresh_patiently() {
  // What is under way may bring it; who still misses it then calls again.
  if (patience_timer_ != 0 || due_ || !after_.empty() || inquiry_.is_under_way()) return;
  missing_ = true;
  patience_timer_ = executor_.run_after(patience_.next(), [this] {
    patience_timer_ = 0;
    refresh();
  });
}

void ClusterMetadata::advance() {
  if (std::exchange(reshardings_seen_, pool_.reshardings()) != pool_.reshardings()) refresh();
  inquiry_.advance();
}

std::optional<Table> ClusterMetadata::next_page() {
  if (std::exchange(untaken_, false)) due_ = true;  // that page is lost, and what it led to
  auto at = after_.empty() ? wanted_.end() : wanted_.upper_bound(after_);
  after_.clear();
  // Who asked for all while a page was due is not served by the rest of the pages.
  if (at == wanted_.end() && std::exchange(due_, false)) at = wanted_.begin();
  MetadataRequest request;
  for (; at != wanted_.end() && request.names.size() < wire::kPartitionsPerRequestMax; ++at) {
    request.names.push_back(*at);
  }
  is_cut_ = at != wanted_.end();
  if (request.names.empty()) return std::nullopt;
  untaken_ = true;
  return encode(request);
}

Result<> ClusterMetadata::take(const SharedBytes& table) {
  TIDELOG_ASSIGN(MetadataAnswer answer, decode_metadata(table.bytes()));
  if (!answer.status.ok()) return fail(answer.status.error());
  untaken_ = false;
  if (!std::exchange(missing_, false)) patience_.reset();
  // What did not fit is asked for next.
  const bool more = (answer.more || is_cut_) && !answer.topics.empty();
  if (more) after_ = answer.topics.back().name;
  apply(std::move(answer));
  arm_age_timer();
  if (updated_) updated_();
  if (due_ || !after_.empty()) inquiry_.ask();
  return {};
}

void ClusterMetadata::arm_age_timer() {
  executor_.cancel(age_timer_);
  age_timer_ = executor_.run_after(age_max_, [this] {
    age_timer_ = 0;
    refresh();
  });
}

void ClusterMetadata::apply(MetadataAnswer answer) {
  ++answers_;
  if (!answer.brokers.empty()) pool_.set_brokers(answer.brokers);
  for (TopicMetadata& from : answer.topics) {
    if (!wanted_.contains(from.name)) continue;
    Topic topic;
    topic.name = from.name;
    topic.as_of = answers_;
    if (from.status.ok()) {
      topic.id = from.id;
      topic.partitions = std::move(from.partitions);
      topic.batch_bytes_max = from.batch_bytes_max;
    } else {
      topic.error = from.status.error();
    }
    topics_.insert_or_assign(from.name, std::move(topic));
  }
}

}  // namespace tidelog::client_core
