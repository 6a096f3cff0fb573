#include "log/catalog.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kEntryBytes = 28;
constexpr std::size_t kCountBytes = 4;
constexpr std::size_t kHoleBytes = 40;

// Both, rising; what touches or overlaps becomes one.
std::vector<Hole> joined(std::vector<Hole> holes, const std::vector<Hole>& more) {
  holes.insert(holes.end(), more.begin(), more.end());
  std::ranges::sort(holes, {}, &Hole::begin);
  std::vector<Hole> apart;
  for (const Hole& hole : holes) {
    if (!apart.empty() && hole.begin <= apart.back().end) {
      apart.back().end = std::max(apart.back().end, hole.end);
    } else {
      apart.push_back(hole);
    }
  }
  return apart;
}

}  // namespace

std::vector<std::byte> encode_catalog(const CatalogContent& content) {
  std::size_t holes = 0;
  for (const auto& [id, entry] : content.replicas) holes += entry.accepted.size();
  std::vector<std::byte> body(kHeaderBytes + content.replicas.size() * kEntryBytes + kCountBytes +
                              holes * kHoleBytes);
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
  store_le<std::uint32_t>(to, static_cast<std::uint32_t>(holes));
  to += kCountBytes;
  for (const auto& [id, entry] : content.replicas) {
    for (const Hole& hole : entry.accepted) {
      std::memcpy(to, id.topic.bytes.data(), id.topic.bytes.size());
      store_le<std::int32_t>(to + 16, id.partition.value());
      store_le<std::int64_t>(to + 24, hole.begin.value());
      store_le<std::int64_t>(to + 32, hole.end.value());
      to += kHoleBytes;
    }
  }
  return body;
}

std::optional<CatalogContent> decode_catalog(std::span<const std::byte> body) {
  if (body.size() < kHeaderBytes) return std::nullopt;
  CatalogContent content;
  content.next_incarnation = load_le<std::uint32_t>(body.data());
  const auto count = load_le<std::uint32_t>(body.data() + 4);
  const std::uint64_t holes_at = kHeaderBytes + std::uint64_t{count} * kEntryBytes;
  if (body.size() < holes_at + kCountBytes) return std::nullopt;
  const auto holes = load_le<std::uint32_t>(body.data() + holes_at);
  if (body.size() != holes_at + kCountBytes + std::uint64_t{holes} * kHoleBytes) {
    return std::nullopt;
  }
  const std::byte* from = body.data() + kHeaderBytes;
  for (std::uint32_t i = 0; i < count; ++i, from += kEntryBytes) {
    TopicPartition id;
    std::memcpy(id.topic.bytes.data(), from, id.topic.bytes.size());
    id.partition = PartitionIndex(load_le<std::int32_t>(from + 16));
    const auto state = load_le<std::uint32_t>(from + 24);
    if (state != 1 && state != 2) return std::nullopt;
    content.replicas[id] = {load_le<std::uint32_t>(from + 20), static_cast<ReplicaState>(state)};
  }
  from += kCountBytes;
  for (std::uint32_t i = 0; i < holes; ++i, from += kHoleBytes) {
    TopicPartition id;
    std::memcpy(id.topic.bytes.data(), from, id.topic.bytes.size());
    id.partition = PartitionIndex(load_le<std::int32_t>(from + 16));
    const Hole hole{Offset(load_le<std::int64_t>(from + 24)),
                    Offset(load_le<std::int64_t>(from + 32))};
    const auto replica = content.replicas.find(id);
    if (replica == content.replicas.end() || hole.begin >= hole.end) return std::nullopt;
    replica->second.accepted.push_back(hole);
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
      if (again) it->second = {next.next_incarnation++, *change.state};
      it->second.state = *change.state;
      incarnations.push_back(it->second.incarnation);
    }
  }
  TIDELOG_TRY(file_.store(encode_catalog(next)));
  content_ = std::move(next);
  return incarnations;
}

Result<> Catalog::accept(std::span<const Acceptance> losses) {
  CatalogContent next;
  {
    const std::lock_guard lock(mutex_);
    next = content_;
  }
  for (const Acceptance& loss : losses) {
    const auto it = next.replicas.find(loss.id);
    TIDELOG_CHECK(it != next.replicas.end(), "only a replica of the catalog can have lost records");
    it->second.accepted = joined(std::move(it->second.accepted), loss.holes);
  }
  return replace(std::move(next));
}

Result<> Catalog::replace(CatalogContent content) {
  const std::lock_guard lock(mutex_);
  TIDELOG_TRY(file_.store(encode_catalog(content)));
  content_ = std::move(content);
  return {};
}

}  // namespace tidelog::log
