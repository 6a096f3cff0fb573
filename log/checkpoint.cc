#include "log/checkpoint.h"

#include <fmt/core.h>

#include <cstring>

#include "base/bytes.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kJournalBytes = 32;
constexpr std::size_t kLogBytes = 64;
}  // namespace

std::vector<std::byte> encode_checkpoint(const CheckpointContent& content) {
  std::vector<std::byte> body(kHeaderBytes + content.journals.size() * kJournalBytes +
                              content.logs.size() * kLogBytes);
  store_le<std::uint32_t>(body.data(), static_cast<std::uint32_t>(content.journals.size()));
  store_le<std::uint32_t>(body.data() + 4, static_cast<std::uint32_t>(content.logs.size()));
  std::byte* to = body.data() + kHeaderBytes;
  for (const JournalCheckpoint& journal : content.journals) {
    store_le<std::uint64_t>(to, journal.journal_id);
    store_le<std::uint64_t>(to + 8, journal.durable_sequence);
    store_le<std::uint64_t>(to + 16, journal.oldest_sequence);
    store_le<std::uint64_t>(to + 24, journal.oldest_position);
    to += kJournalBytes;
  }
  for (const LogCheckpoint& log : content.logs) {
    std::memcpy(to, log.id.topic.bytes.data(), log.id.topic.bytes.size());
    store_le<std::int32_t>(to + 16, log.id.partition.value());
    store_le<std::uint32_t>(to + 20, log.incarnation);
    store_le<std::int64_t>(to + 24, log.log_start.value());
    store_le<std::int64_t>(to + 32, log.recovery_point.value());
    store_le<std::int64_t>(to + 40, log.durable_end.value());
    store_le<std::int64_t>(to + 48, log.high_watermark.value());
    store_le<std::uint32_t>(to + 56, log.lossy ? 1 : 0);
    to += kLogBytes;
  }
  return body;
}

std::optional<CheckpointContent> decode_checkpoint(std::span<const std::byte> body) {
  if (body.size() < kHeaderBytes) return std::nullopt;
  const auto journals = load_le<std::uint32_t>(body.data());
  const auto logs = load_le<std::uint32_t>(body.data() + 4);
  if (body.size() !=
      kHeaderBytes + std::uint64_t{journals} * kJournalBytes + std::uint64_t{logs} * kLogBytes) {
    return std::nullopt;
  }
  CheckpointContent content;
  const std::byte* from = body.data() + kHeaderBytes;
  for (std::uint32_t i = 0; i < journals; ++i, from += kJournalBytes) {
    content.journals.push_back({.journal_id = load_le<std::uint64_t>(from),
                                .durable_sequence = load_le<std::uint64_t>(from + 8),
                                .oldest_sequence = load_le<std::uint64_t>(from + 16),
                                .oldest_position = load_le<std::uint64_t>(from + 24)});
  }
  for (std::uint32_t i = 0; i < logs; ++i, from += kLogBytes) {
    LogCheckpoint log;
    std::memcpy(log.id.topic.bytes.data(), from, log.id.topic.bytes.size());
    log.id.partition = PartitionIndex(load_le<std::int32_t>(from + 16));
    log.incarnation = load_le<std::uint32_t>(from + 20);
    log.log_start = Offset(load_le<std::int64_t>(from + 24));
    log.recovery_point = Offset(load_le<std::int64_t>(from + 32));
    log.durable_end = Offset(load_le<std::int64_t>(from + 40));
    log.high_watermark = Offset(load_le<std::int64_t>(from + 48));
    log.lossy = (load_le<std::uint32_t>(from + 56) & 1) != 0;
    content.logs.push_back(log);
  }
  return content;
}

std::string missing_checkpoint(const std::string& path, std::size_t logs) {
  return fmt::format(
      "{0}.0 and {0}.1 are missing, but the catalog lists {1} logs: where they begin, and the ends "
      "that only these files knew, is lost",
      path, logs);
}

Result<CheckpointFile::Loaded> CheckpointFile::load() {
  const std::lock_guard lock(mutex_);
  TIDELOG_ASSIGN(auto file, file_.load());
  Loaded loaded{{}, file.any_exists, std::move(file.problems)};
  if (file.content) {
    if (auto content = decode_checkpoint(file.content->body)) {
      loaded.content = std::move(*content);
    } else {
      loaded.problems.push_back(fmt::format("{} cannot be read and does not count", file_.path()));
    }
  }
  return loaded;
}

CheckpointContent CheckpointFile::merged() const {
  CheckpointContent all;
  for (const CheckpointContent& part : parts_) {
    all.journals.insert(all.journals.end(), part.journals.begin(), part.journals.end());
    all.logs.insert(all.logs.end(), part.logs.begin(), part.logs.end());
  }
  return all;
}

CheckpointContent CheckpointFile::content() const {
  const std::lock_guard lock(mutex_);
  return merged();
}

Result<> CheckpointFile::store_all(std::vector<CheckpointContent> parts) {
  const std::lock_guard lock(mutex_);
  parts_ = std::move(parts);
  return file_.store(encode_checkpoint(merged()));
}

Result<> CheckpointFile::store(std::size_t shard, CheckpointContent part) {
  const std::lock_guard lock(mutex_);
  parts_[shard] = std::move(part);
  return file_.store(encode_checkpoint(merged()));
}

}  // namespace tidelog::log
