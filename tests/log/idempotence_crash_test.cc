// Power cuts at every step of what idempotent producers write: whoever sends again what was not
// acknowledged finds each record in the log once.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/log/log_harness.h"
#include "tests/log/produced_batches.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

const TopicPartition kFirst = partition_of(1, 0);
const TopicPartition kSecond = partition_of(2, 0);

HarnessOptions options(std::uint64_t seed) {
  HarnessOptions options;
  options.seed = seed;
  options.store.shard.checkpoint_interval = std::chrono::seconds(1);
  return options;
}

// One producer of one log, as a client keeps it.
struct Writer {
  struct Sent {
    std::vector<std::byte> batch;
    std::int32_t records = 0;
    Offset base{-1};
    Offset end{-1};
    bool acknowledged = false;
  };
  TopicPartition log;
  ProducerIdentity identity;
  std::int32_t next_sequence = 0;
  std::vector<Sent> sent;
};

class Writers {
 public:
  Writers() {
    for (std::int64_t id = 1; id <= 3; ++id) {
      for (const TopicPartition& log : {kFirst, kSecond}) {
        writers.push_back({.log = log, .identity = {ProducerId(id), 0, 0}, .sent = {}});
      }
    }
  }

  // Follows what becomes stable.
  void listen(LogHarness& harness) {
    for (const TopicPartition& id : {kFirst, kSecond}) {
      PartitionLog* log = harness.find(id);
      if (log == nullptr) continue;
      log->on_durable([this, id](Offset end) { acknowledge(id, end); });
    }
  }

  // False: the power went.
  bool write(LogHarness& harness, std::size_t writer, std::size_t bytes) {
    Writer& by = writers[writer];
    ProducerIdentity identity = by.identity;
    identity.base_sequence = by.next_sequence;
    const int records = 1 + by.next_sequence % 3;
    Writer::Sent sent{.batch = produced_batch(by.log, identity, records, std::string(bytes, 'x')),
                      .records = records};
    const auto appended = harness.find(by.log)->append(sent.batch, LeaderEpoch(epoch));
    if (!appended) {
      EXPECT_EQ(appended.error().code(), ErrorCode::kStorageFailed) << appended.error().to_string();
      return false;
    }
    EXPECT_FALSE(appended->duplicate);
    sent.base = appended->base_offset;
    sent.end = appended->next_offset;
    by.next_sequence += records;
    by.sent.push_back(std::move(sent));
    return true;
  }

  // Records at or behind `offset` of the first log are going, or gone: what is heard of them does
  // not count until they are sent again.
  void cut(const TopicPartition& id, Offset offset) {
    cut_at = offset;
    for (Writer& writer : writers) {
      if (writer.log != id) continue;
      for (Writer::Sent& sent : writer.sent) {
        if (sent.end > offset) sent.acknowledged = false;
      }
    }
  }

  // Sends everything again, in order; what was acknowledged is a duplicate at its offset. Returns
  // what is wrong.
  std::string send_again(LogHarness& harness) {
    for (Writer& writer : writers) {
      PartitionLog* log = harness.find(writer.log);
      for (Writer::Sent& sent : writer.sent) {
        if (log == nullptr) {
          if (sent.acknowledged) return fmt::format("{} is gone", writer.log.to_string());
          continue;
        }
        const auto again = log->append(sent.batch, LeaderEpoch(epoch));
        if (!again) return again.error().to_string();
        if (!again->duplicate && sent.acknowledged) return "an acknowledged batch was taken again";
        if (!sent.acknowledged) {
          sent.base = again->base_offset;
          sent.end = again->next_offset;
        }
        if (sent.acknowledged && again->base_offset != sent.base) {
          return fmt::format("{}: offset {} was acknowledged, the duplicate is at {}",
                             writer.log.to_string(), sent.base.value(), again->base_offset.value());
        }
        if (again->next_offset - again->base_offset != sent.records) return "other records";
      }
    }
    return "";
  }

  // Each record of each writer is in its log once, in order.
  std::string check_content(LogHarness& harness) {
    for (const TopicPartition& id : {kFirst, kSecond}) {
      PartitionLog* log = harness.find(id);
      if (log == nullptr) continue;
      if (!harness.wait_durable(id)) return "it does not become stable";
      const auto held = harness.read_all(id, log->log_start(), log->log_end());
      if (!held) return held.error().to_string();
      // What was trimmed is not looked at; the first that is left of a producer may begin anywhere.
      const bool trimmed = log->log_start() > Offset(0);
      std::map<ProducerId, std::int32_t> next;
      for (std::span<const std::byte> rest = *held; !rest.empty();) {
        const auto batch = wire::BatchView::parse(rest, rest.size());
        if (!batch) return batch.error().to_string();
        const auto first =
            next.try_emplace(batch->producer_id(), trimmed ? batch->base_sequence() : 0);
        std::int32_t& due = first.first->second;
        if (batch->base_sequence() != due) {
          return fmt::format("{}: sequence {} of producer {} where {} is due", id.to_string(),
                             batch->base_sequence(), batch->producer_id().value(), due);
        }
        due += batch->record_count();
        rest = rest.subspan(batch->size());
      }
      for (const Writer& writer : writers) {
        const auto found = next.find(writer.identity.producer_id);
        const std::int32_t records = found == next.end() ? 0 : found->second;
        if (writer.log != id || records == writer.next_sequence) continue;
        if (trimmed && found == next.end()) continue;
        return fmt::format("{}: producer {} has {} records there and wrote {}", id.to_string(),
                           writer.identity.producer_id.value(), records, writer.next_sequence);
      }
    }
    return "";
  }

  std::vector<Writer> writers;
  std::int32_t epoch = 1;
  std::optional<Offset> cut_at;  // of the first log, which is being truncated

 private:
  void acknowledge(const TopicPartition& id, Offset end) {
    if (id == kFirst && cut_at) end = std::min(end, *cut_at);
    for (Writer& writer : writers) {
      if (writer.log != id) continue;
      for (Writer::Sent& sent : writer.sent) {
        if (sent.end <= end) sent.acknowledged = true;
      }
    }
  }
};

bool write_many(LogHarness& harness, Writers& writers, int count, std::size_t bytes) {
  for (int i = 0; i < count; ++i) {
    if (!writers.write(harness, static_cast<std::size_t>(i * 7 % 6), bytes)) return false;
    if (i % 4 == 0) harness.pass(milliseconds(1));
  }
  return true;
}

// The power may go at any step: then false.
bool history(sim::SimDisk& disk, Writers& writers, std::uint64_t seed) {
  {
    Ledger ledger;
    LogHarness harness(disk, ledger, options(seed));
    if (!harness.open() || !harness.create(kFirst) || !harness.create(kSecond)) return false;
    writers.listen(harness);
    if (!write_many(harness, writers, 40, 400)) return false;
    harness.pass(milliseconds(1100));
    // Several segments of the first log, and indexes on the way.
    for (int i = 0; i < 50; ++i) {
      if (!writers.write(harness, static_cast<std::size_t>(i % 3 * 2), 1500)) return false;
      if (i % 8 == 0) harness.pass(milliseconds(2));
    }
    if (!harness.wait_durable(kFirst)) return false;
    const Offset cut = harness.find(kFirst)->log_end() - 20;
    writers.cut(kFirst, cut);
    if (!harness.truncate(kFirst, cut)) return false;
    writers.epoch = 2;
    if (!writers.send_again(harness).empty()) return false;
    writers.cut_at.reset();
    if (!write_many(harness, writers, 20, 300)) return false;
    if (!harness.wait_durable(kFirst) || !harness.wait_durable(kSecond)) return false;
    if (!harness.stop_cleanly()) return false;
  }
  Ledger ledger;
  LogHarness harness(disk, ledger, options(seed + 1));
  if (!harness.open()) return false;
  writers.listen(harness);
  writers.epoch = 3;
  if (!write_many(harness, writers, 12, 700)) return false;
  // One whole segment and more goes, and with it every record of some producers; then another one.
  for (int i = 0; i < 60; ++i) {
    if (!writers.write(harness, 0, 1500)) return false;
    if (i % 8 == 0) harness.pass(milliseconds(2));
    if (i % 30 != 29) continue;
    if (!harness.wait_durable(kFirst)) return false;
    if (!harness.trim(kFirst, harness.find(kFirst)->log_end() - 10)) return false;
    harness.pass(milliseconds(100));
  }
  return true;
}

std::string check_goes_on(sim::SimDisk& disk, Writers writers) {
  Ledger ledger;
  LogHarness harness(disk, ledger, options(99));
  if (const auto opened = harness.open(); !opened) return opened.error().to_string();
  writers.epoch = 9;
  if (auto wrong = writers.send_again(harness); !wrong.empty()) return wrong;
  if (harness.find(kFirst) != nullptr && harness.find(kSecond) != nullptr) {
    if (!write_many(harness, writers, 6, 100)) return "it takes no records";
    return writers.check_content(harness);
  }
  return "";
}

// What a client sends again may itself meet a truncation's effects only as new records: offsets of
// acknowledged ones stay.
TEST(IdempotenceCrashTest, EveryPowerCutLeavesEachRecordOnceForWhoSendsAgain) {
  std::uint64_t checked = 0;
  for (std::uint64_t point = 1;; ++point) {
    sim::SimDisk disk;
    disk.stop_at(point);
    Writers writers;
    ASSERT_TRUE(history(disk, writers, 1) || disk.powered_off()) << "the history itself failed";
    for (const sim::CrashPolicy& policy : disk.crash_policies(2, point)) {
      const auto wrong = check_goes_on(*disk.crash_image(policy), writers);
      ASSERT_EQ(wrong, "") << disk.stopped_by() << ", " << policy.to_string();
      ++checked;
    }
    if (!disk.powered_off()) break;
  }
  fmt::print("{} crash images\n", checked);
  EXPECT_GT(checked, 500U);
}

TEST(IdempotenceCrashTest, ASecondPowerCutDuringRecoveryLeavesEachRecordOnceToo) {
  std::uint64_t checked = 0;
  bool ended = false;
  for (std::uint64_t point = 5; !ended; point += 31) {
    sim::SimDisk disk;
    disk.stop_at(point);
    Writers writers;
    history(disk, writers, 2);
    ended = !disk.powered_off();
    const auto found = disk.crash_image(sim::CrashPolicy::random(point));
    for (std::uint64_t second = 1 + point % 4;; second += 4) {
      const auto again = found->crash_image(sim::CrashPolicy::everything());
      again->stop_at(second);
      {
        Ledger ledger;
        LogHarness harness(*again, ledger, options(5));
        static_cast<void>(harness.open());
      }
      for (const sim::CrashPolicy& policy :
           {sim::CrashPolicy::nothing(), sim::CrashPolicy::random(second)}) {
        const auto wrong = check_goes_on(*again->crash_image(policy), writers);
        ASSERT_EQ(wrong, "") << disk.stopped_by() << "; then " << again->stopped_by() << ", "
                             << policy.to_string();
        ++checked;
      }
      if (!again->powered_off()) break;
    }
  }
  fmt::print("{} crash images\n", checked);
  EXPECT_GT(checked, 200U);
}

}  // namespace
}  // namespace tidelog::log
