#include "log/catalog.h"

#include <cstring>

#include "base/bytes.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kEntryBytes = 28;
}  // namespace

std::vector<std::byte> encode_catalog(const CatalogContent& content) {
  std::vector<std::byte> body(kHeaderBytes + content.replicas.size() * kEntryBytes);
  store_le<std::uint32_t>(body.data(), content.next_incarnation);
  store_le<std::uint32_t>(body.data() + 4, static_cast<std::uint32_t>(content.replicas.size()));
  std::byte* to = body.data() + kHeaderBytes;
  for (const auto& [id, entry] : content.replicas) {
    std::memcpy(to, id.topic.bytes.data(), id.topic.bytes.size());
    store_le<std::int32_t>(to + 16, id.partition.value());
    store_le<std::uint32_t>(to + 20, entry.incarnation);
    store_le<std::uint32_t>(to + 24, static_cast<std::uint32_t>(entry.state));
    to += kEntryBytes;
  }
  return body;
}

std::optional<CatalogContent> decode_catalog(std::span<const std::byte> body) {
  if (body.size() < kHeaderBytes) return std::nullopt;
  CatalogContent content;
  content.next_incarnation = load_le<std::uint32_t>(body.data());
  const auto count = load_le<std::uint32_t>(body.data() + 4);
  if (body.size() != kHeaderBytes + std::uint64_t{count} * kEntryBytes) return std::nullopt;
  const std::byte* from = body.data() + kHeaderBytes;
  for (std::uint32_t i = 0; i < count; ++i, from += kEntryBytes) {
    TopicPartition id;
    std::memcpy(id.topic.bytes.data(), from, id.topic.bytes.size());
    id.partition = PartitionIndex(load_le<std::int32_t>(from + 16));
    const auto state = load_le<std::uint32_t>(from + 24);
    if (state != 1 && state != 2) return std::nullopt;
    content.replicas[id] = {load_le<std::uint32_t>(from + 20), static_cast<ReplicaState>(state)};
  }
  return content;
}

Result<Catalog::Loaded> Catalog::load() {
  const std::lock_guard lock(mutex_);
  TIDELOG_ASSIGN(auto file, file_.load());
  Loaded loaded{file.any_exists, false, std::move(file.problems)};
  if (file.content) {
    if (auto content = decode_catalog(file.content->body)) {
      content_ = std::move(*content);
      loaded.sound = true;
    }
  }
  return loaded;
}

std::map<TopicPartition, CatalogEntry> Catalog::replicas() const {
  const std::lock_guard lock(mutex_);
  return content_.replicas;
}

Result<std::vector<std::uint32_t>> Catalog::apply(std::span<const Change> changes) {
  const std::lock_guard lock(mutex_);
  CatalogContent next = content_;
  std::vector<std::uint32_t> incarnations;
  incarnations.reserve(changes.size());
  for (const Change& change : changes) {
    const auto it = next.replicas.find(change.id);
    if (!change.state) {
      incarnations.push_back(it == next.replicas.end() ? 0 : it->second.incarnation);
      if (it != next.replicas.end()) next.replicas.erase(it);
    } else if (it == next.replicas.end()) {
      incarnations.push_back(next.next_incarnation);
      next.replicas[change.id] = {next.next_incarnation++, *change.state};
    } else {
      const bool again =
          it->second.state == ReplicaState::kRemoving && *change.state == ReplicaState::kLives;
      if (again) it->second.incarnation = next.next_incarnation++;
      it->second.state = *change.state;
      incarnations.push_back(it->second.incarnation);
    }
  }
  TIDELOG_TRY(file_.store(encode_catalog(next)));
  content_ = std::move(next);
  return incarnations;
}

}  // namespace tidelog::log
