// A test that lives through several lives of a LogStore on one simulated disk.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "log/journal_format.h"
#include "log/log_store.h"
#include "tests/log/log_harness.h"

namespace tidelog::log {

inline const TopicPartition kId = partition_of(2, 0);
inline const TopicPartition kOther = partition_of(4, 0);

class LogFixture : public testing::Test {
 protected:
  static HarnessOptions one_shard() {
    HarnessOptions options;
    options.shards = 1;
    return options;
  }
  void start(HarnessOptions options = one_shard()) {
    harness_ = std::make_unique<LogHarness>(*disk_, ledger_, std::move(options));
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
  }
  // The power goes now; what was not synced survives as `policy` says.
  void crash(const sim::CrashPolicy& policy = sim::CrashPolicy::everything()) {
    disk_->power_off();
    auto image = disk_->crash_image(policy);
    harness_.reset();
    disk_ = std::move(image);
  }
  // The process ends now, the power does not: what was not synced is there and may be lost later.
  void kill() {
    disk_->power_off();
    auto image = disk_->kill_image(sim::CrashPolicy::everything());
    harness_.reset();
    disk_ = std::move(image);
  }
  // Appends records, each of which is acknowledged before the next one.
  void append_durably(const TopicPartition& id, int count = 1, std::size_t bytes = 300,
                      LeaderEpoch epoch = LeaderEpoch(1)) {
    for (int i = 0; i < count; ++i) {
      const auto appended = harness_->append(id, bytes, epoch);
      ASSERT_TRUE(appended) << appended.error().to_string();
      ASSERT_TRUE(harness_->wait_durable(id));
    }
  }
  // Position of the n-th write header (from 0) in a journal file, by its magic.
  std::uint64_t journal_write_at(const std::string& path, std::size_t n) {
    const auto bytes = disk_->contents(path);
    for (std::uint64_t at = kJournalDataStart; at < bytes.size(); at += io::kBlockBytes) {
      if (has_write_magic(std::span(bytes).subspan(at)) && n-- == 0) return at;
    }
    ADD_FAILURE() << "no such write in " << path;
    return 0;
  }
  // An entry of a journal file, the position of its write's header and that of its batches.
  struct StoredEntry {
    JournalEntry entry;
    std::uint64_t write = 0;
    std::uint64_t batches = 0;
  };
  std::vector<StoredEntry> entries_of(const std::string& path) const {
    const auto bytes = disk_->contents(path);
    std::vector<StoredEntry> all;
    for (std::uint64_t at = kJournalDataStart; at < bytes.size(); at += io::kBlockBytes) {
      const auto header = decode_write_header(std::span(bytes).subspan(at));
      if (!header) continue;
      std::uint64_t batches = at + kWriteHeaderBytes + header->entries * kJournalEntryBytes;
      for (std::uint32_t i = 0; i < header->entries; ++i) {
        const auto entry =
            decode_journal_entry(bytes.data() + at + kWriteHeaderBytes + i * kJournalEntryBytes);
        if (!entry) continue;
        all.push_back({*entry, at, batches});
        batches += entry->length;
      }
    }
    return all;
  }
  // The first one of `kind`.
  StoredEntry entry_at(const std::string& path, EntryKind kind) {
    for (const StoredEntry& one : entries_of(path)) {
      if (one.entry.kind == kind) return one;
    }
    ADD_FAILURE() << "no such entry in " << path;
    return {};
  }
  // The journal does not grow and, while `slow`, segments hardly take anything from it.
  static HarnessOptions ring_that_fills(const bool& slow) {
    HarnessOptions options = one_shard();
    options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
    options.store.shard.destage_bytes = 1 << 20;
    options.latency = [&slow](const sim::SimIoOperation& operation) {
      const bool segment = operation.path.ends_with(".log");
      return slow && segment ? std::chrono::microseconds(std::chrono::seconds(1))
                             : std::chrono::microseconds(50);
    };
    return options;
  }
  // kId holds offsets 0 and 1, which a truncation left of nine, and two new records; the journal
  // still holds all that ever was.
  void append_truncate_append() {
    start();
    ASSERT_TRUE(harness_->create(kOther));
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kOther);  // holds the journal's tail
    append_durably(kId, 9, 3000);
    harness_->pass(std::chrono::milliseconds(20));
    ASSERT_TRUE(harness_->truncate(kId, Offset(2)));
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(harness_->append(kId, 150, LeaderEpoch(2)));
      ASSERT_TRUE(harness_->wait_durable(kId));
    }
    crash(sim::CrashPolicy::everything());
  }
  static std::string segment_of(const TopicPartition& id, std::int64_t base = 0) {
    return fmt::format("data/{}/{:020}.log", id.to_string(), base);
  }
  bool told(std::string_view what) {
    const auto& problems = harness_->store().recovery().problems;
    return std::ranges::any_of(problems, [&](const std::string& p) { return p.contains(what); });
  }

  std::unique_ptr<sim::SimDisk> disk_ = std::make_unique<sim::SimDisk>();
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
};

}  // namespace tidelog::log
