// One history, again and again, each time with another operation of the disk failing: no space is
// waited out and loses nothing; a failed write or sync ends acknowledgements, and the next start
// finds all that was acknowledged.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

const TopicPartition kFirst = partition_of(2, 0);
const TopicPartition kSecond = partition_of(3, 0);

HarnessOptions options() {
  HarnessOptions options;
  options.store.shard.checkpoint_interval = std::chrono::seconds(1);
  return options;
}

bool passes(ErrorCode code) {
  return code == ErrorCode::kStorageFull || code == ErrorCode::kOverloaded;
}

// One life, driven as a broker would: what is refused for a while is tried again. Each function
// returns false when the directory failed.
class Life {
 public:
  Life(sim::SimDisk& disk, Ledger& ledger) : harness_(disk, ledger, options()), ledger_(ledger) {}

  LogHarness& harness() { return harness_; }

  Result<> open() { return harness_.open(); }

  bool create(const TopicPartition& id) {
    const auto made = insist([&](auto answer) {
      harness_.shard_of(id).create(
          id, HarnessOptions::small_settings(),
          [answer](Result<PartitionLog*> log) { *answer = log ? Result<>() : fail(log.error()); });
    });
    if (!made) return false;
    ledger_.logs[id] = LedgerLog();
    harness_.listen(id);
    return true;
  }

  bool remove(const TopicPartition& id) {
    ledger_.logs[id].removed = true;
    const auto removed = insist([&](auto answer) {
      harness_.shard_of(id).remove(id, [answer](Result<> result) { *answer = result; });
    });
    if (removed) ledger_.logs.erase(id);
    return removed;
  }

  bool truncate(const TopicPartition& id, Offset offset) {
    LedgerLog& entry = ledger_.logs[id];
    entry.truncating = offset;
    const auto done = insist([&](auto answer) {
      harness_.find(id)->truncate(offset, [answer](Result<> result) { *answer = result; });
    });
    if (!done) return false;
    entry.truncating.reset();
    entry.batches.erase(entry.batches.lower_bound(offset), entry.batches.end());
    entry.acknowledged = std::min(entry.acknowledged, offset);
    return true;
  }

  bool append(const TopicPartition& id, int count, std::size_t bytes, LeaderEpoch epoch) {
    for (int i = 0; i < count; ++i) {
      for (int attempt = 0;; ++attempt) {
        const auto appended = harness_.append(id, bytes, epoch);
        if (appended) break;
        if (!passes(appended.error().code()) || attempt == kPatience) return false;
        harness_.pass(milliseconds(100));
      }
      // Reads go on, whatever the disk does to writes.
      bool read = harness_.find(id)->durable_end() == Offset(0);
      for (int attempt = 0; attempt < 3 && !read; ++attempt) {
        read = harness_.read_all(id, Offset(0), Offset(1)).has_value();
      }
      EXPECT_TRUE(read) << "what is durable cannot be read";
      if (i % 4 == 3 && !wait_durable(id)) return false;
    }
    return wait_durable(id);
  }

  bool wait_durable(const TopicPartition& id) {
    PartitionLog* log = harness_.find(id);
    harness_.executor().run_until([&] {
      return log->durable_end() == log->log_end() || log->health() == LogHealth::kFailed;
    });
    return log->durable_end() == log->log_end();
  }

  bool stop() {
    std::size_t closed = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      harness_.store().shard(i).close(
          [&](const Result<>& result) { closed += result.has_value() ? 1 : 0; });
    }
    return harness_.executor().run_until([&] { return closed == 2; }, std::chrono::seconds(20)) &&
           harness_.store().finish_clean_stop();
  }

  // The history itself; false where the directory failed.
  bool live() {
    const LeaderEpoch one(1);
    const LeaderEpoch two(2);
    bool alive = create(kFirst) && create(kSecond) && append(kFirst, 40, 1800, one) &&
                 append(kSecond, 3, 300, one);
    harness_.pass(milliseconds(1200));
    alive = alive && truncate(kFirst, Offset(25)) && append(kFirst, 12, 1500, two) &&
            remove(kSecond) && create(kSecond) && append(kSecond, 6, 5000, one);
    harness_.pass(milliseconds(1200));
    return alive && harness_.find(kFirst)->health() == LogHealth::kSound;
  }

 private:
  static constexpr int kPatience = 100;

  // Asks until the answer is not one that passes.
  template <typename Ask>
  bool insist(Ask ask) {
    for (int attempt = 0; attempt < kPatience; ++attempt) {
      auto answer = std::make_shared<std::optional<Result<>>>();
      ask(answer);
      EXPECT_TRUE(harness_.executor().run_until([&] { return answer->has_value(); }))
          << "no answer";
      if (!*answer) return false;
      if (**answer) return true;
      if (!passes((*answer)->error().code())) return false;
      harness_.pass(milliseconds(100));
    }
    return false;
  }

  LogHarness harness_;
  Ledger& ledger_;
};

std::string found_after_restart(sim::SimDisk& disk, Ledger& ledger) {
  LogHarness harness(disk, ledger, options());
  const auto opened = harness.open();
  if (!opened) return opened.error().to_string();
  return compare(harness, ledger);
}

TEST(DiskFaultTest, NoSpaceAtAnyPointLosesNothingAndIsWaitedOut) {
  using Operation = sim::DiskOperation;
  std::uint64_t faults = 0;
  for (const Operation operation :
       {Operation::kOpen, Operation::kWrite, Operation::kAllocate, Operation::kMakeDirectory}) {
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE(fmt::format("no space at {} {}", sim::to_string(operation), n));
      sim::SimDisk disk;
      Ledger ledger;
      // Twice in a row: the first retry finds none either.
      disk.fail_nth(operation, n, sim::DiskFault::kNoSpace);
      disk.fail_nth(operation, n + 1, sim::DiskFault::kNoSpace);
      auto life = std::make_unique<Life>(disk, ledger);
      for (int attempt = 0; attempt < 3; ++attempt) {
        const auto opened = life->open();
        if (opened) break;
        ASSERT_EQ(opened.error().code(), ErrorCode::kStorageFull) << opened.error().to_string();
        life.reset();
        life = std::make_unique<Life>(disk, ledger);
      }
      ASSERT_TRUE(life->live());
      ASSERT_EQ(compare(life->harness(), ledger), "");
      const bool hit = disk.faults_left() == 0;
      faults += hit ? 1 : 0;
      ASSERT_TRUE(life->stop());
      life.reset();
      for (const auto& policy : {sim::CrashPolicy::everything(), sim::CrashPolicy::nothing()}) {
        const auto image = disk.crash_image(policy);
        ASSERT_EQ(found_after_restart(*image, ledger), "") << policy.to_string();
      }
      if (!hit && disk.faults_left() == 2) break;
    }
  }
  EXPECT_GT(faults, 100U);
}

TEST(DiskFaultTest, AnErrorAtAnyPointEndsAcknowledgementsAndLosesNoneOfThem) {
  using Operation = sim::DiskOperation;
  std::uint64_t failed = 0;
  for (const Operation operation :
       {Operation::kWrite, Operation::kSync, Operation::kSyncDirectory, Operation::kAllocate,
        Operation::kTruncate, Operation::kRemove, Operation::kMakeDirectory, Operation::kOpen}) {
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE(fmt::format("input/output error at {} {}", sim::to_string(operation), n));
      sim::SimDisk disk(n);
      Ledger ledger;
      disk.fail_nth(operation, n, sim::DiskFault::kIoError);
      bool lived = false;
      bool stopped = false;
      {
        Life life(disk, ledger);
        if (life.open()) {
          lived = life.live();
          if (const auto failure = life.harness().store().failure()) {
            ++failed;
            ASSERT_TRUE(failure->message().contains("injected")) << failure->message();
            const Ledger before = ledger;
            for (PartitionLog* log : life.harness().all()) {
              ASSERT_EQ(log->health(), LogHealth::kFailed);
              ASSERT_EQ(log->append(make_batch(log->id(), 1, 10), LeaderEpoch(9)).error().code(),
                        ErrorCode::kStorageFailed);
            }
            life.harness().pass(std::chrono::seconds(3));
            for (const auto& [id, log] : ledger.logs) {
              ASSERT_EQ(log.acknowledged, before.logs.at(id).acknowledged)
                  << "acknowledged after the failure";
            }
          }
          stopped = life.stop();
        }
      }
      for (const auto& policy : {sim::CrashPolicy::everything(), sim::CrashPolicy::nothing(),
                                 sim::CrashPolicy::random(n)}) {
        const auto image = disk.crash_image(policy);
        ASSERT_EQ(found_after_restart(*image, ledger), "") << policy.to_string();
      }
      if (lived && stopped && disk.faults_left() == 1) break;
    }
  }
  EXPECT_GT(failed, 100U);
}

}  // namespace
}  // namespace tidelog::log
