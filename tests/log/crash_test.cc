// Power cuts at every write, sync, rename, removal and truncation of a scripted history, with many
// choices of what un-synced changes survive: what was acknowledged is there, nothing else is, and
// the log goes on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

const TopicPartition kFirst = partition_of(1, 0);
const TopicPartition kSecond = partition_of(1, 1);
const TopicPartition kBusy = partition_of(2, 0);
const TopicPartition kLate = partition_of(3, 0);

HarnessOptions options(std::uint64_t seed) {
  HarnessOptions options;
  options.seed = seed;
  options.store.shard.checkpoint_interval = std::chrono::seconds(1);
  return options;
}

bool append_many(LogHarness& harness, const TopicPartition& id, int count, std::size_t bytes,
                 LeaderEpoch epoch = LeaderEpoch(1)) {
  for (int i = 0; i < count; ++i) {
    const auto appended = harness.append(id, bytes, epoch);
    if (!appended && appended.error().code() != ErrorCode::kStorageFailed) {
      ADD_FAILURE() << appended.error().to_string();
    }
    if (!appended) return false;
    if (i % 3 == 0) harness.pass(milliseconds(1));
  }
  return true;
}

// Each step that the power cut short ends the history.
using Step = std::function<bool(LogHarness&)>;

const std::vector<Step>& first_life() {
  static const std::vector<Step> steps = {
      [](LogHarness& h) { return h.create(kFirst) && h.create(kSecond) && h.create(kBusy); },
      [](LogHarness& h) {
        return append_many(h, kFirst, 3, 100) && append_many(h, kSecond, 3, 300);
      },
      [](LogHarness& h) { return append_many(h, kBusy, 45, 900); },
      [](LogHarness& h) {
        return append_many(h, kBusy, 2, 20000) && append_many(h, kFirst, 2, 50);
      },
      [](LogHarness& h) { return h.wait_durable(kBusy); },
      [](LogHarness& h) {
        h.pass(milliseconds(60));
        return true;
      },
      [](LogHarness& h) {
        h.pass(milliseconds(1100));
        return true;
      },
      // Into a segment, then into what is not destaged.
      [](LogHarness& h) { return h.truncate(kBusy, Offset(41)); },
      [](LogHarness& h) { return append_many(h, kBusy, 8, 700, LeaderEpoch(2)); },
      [](LogHarness& h) { return h.truncate(kBusy, h.find(kBusy)->log_end() - 2); },
      [](LogHarness& h) { return append_many(h, kBusy, 20, 1500, LeaderEpoch(3)); },
      [](LogHarness& h) { return h.remove(kSecond) && h.create(kLate) && h.create(kSecond); },
      [](LogHarness& h) {
        return append_many(h, kLate, 3, 5000) && append_many(h, kSecond, 2, 10);
      },
      [](LogHarness& h) { return h.wait_durable(kLate) && h.wait_durable(kSecond); },
      [](LogHarness& h) { return h.stop_cleanly(); },
  };
  return steps;
}

const std::vector<Step>& second_life() {
  static const std::vector<Step> steps = {
      [](LogHarness& h) {
        h.listen(kFirst);
        h.listen(kBusy);
        return append_many(h, kFirst, 3, 100, LeaderEpoch(4)) &&
               append_many(h, kBusy, 5, 2000, LeaderEpoch(4));
      },
      [](LogHarness& h) {
        h.pass(milliseconds(80));
        return true;
      },
      // Into what an earlier life left in the journal, and round the ring.
      [](LogHarness& h) { return h.truncate(kLate, Offset(2)) && h.remove(kSecond); },
      [](LogHarness& h) { return append_many(h, kBusy, 30, 2000, LeaderEpoch(4)); },
      // Whole segments go; then a start within what only the journal holds.
      [](LogHarness& h) { return h.wait_durable(kBusy) && h.trim(kBusy, Offset(90)); },
      [](LogHarness& h) { return h.trim(kFirst, h.find(kFirst)->durable_end() - 1); },
      [](LogHarness& h) {
        h.pass(milliseconds(20));
        return true;
      },
      [](LogHarness& h) { return h.wait_durable(kBusy) && h.stop_cleanly(); },
  };
  return steps;
}

const std::vector<Step>& third_life() {
  static const std::vector<Step> steps = {
      [](LogHarness& h) {
        h.listen(kFirst);
        return append_many(h, kFirst, 2, 100, LeaderEpoch(5)) && h.wait_durable(kFirst);
      },
  };
  return steps;
}

bool run(LogHarness& harness, const std::vector<Step>& steps) {
  if (!harness.open()) return false;
  return std::ranges::all_of(steps, [&](const Step& step) { return step(harness); });
}

// The whole history, until it ends (then true) or the power does.
bool history(sim::SimDisk& disk, Ledger& ledger, std::uint64_t seed) {
  {
    LogHarness harness(disk, ledger, options(seed));
    if (!run(harness, first_life())) return false;
  }
  {
    LogHarness harness(disk, ledger, options(seed + 1));
    if (!run(harness, second_life())) return false;
  }
  LogHarness harness(disk, ledger, options(seed + 2));
  return run(harness, third_life());
}

// Forgets what was appended but is not there: those offsets are given anew.
void settle(LogHarness& harness, Ledger& ledger) {
  for (auto it = ledger.logs.begin(); it != ledger.logs.end();) {
    PartitionLog* log = harness.find(it->first);
    if (log == nullptr) {
      it = ledger.logs.erase(it);
      continue;
    }
    it->second.batches.erase(it->second.batches.lower_bound(log->log_end()),
                             it->second.batches.end());
    it->second.acknowledged = log->log_end();
    it->second.truncating.reset();
    it->second.start = it->second.start_max = log->log_start();
    it->second.removed = false;
    ++it;
  }
}

// Opens what a crash left, compares, and goes on: append, acknowledge, read, stop.
std::string check_goes_on(sim::SimDisk& crashed, Ledger ledger, std::size_t shards) {
  HarnessOptions changed = options(99);
  changed.shards = shards;
  // The start after a start to which nothing happened finds the same.
  {
    LogHarness harness(crashed, ledger, changed);
    const auto opened = harness.open();
    if (!opened) return opened.error().to_string();
    if (auto wrong = compare(harness, ledger); !wrong.empty()) return wrong;
    settle(harness, ledger);
    crashed.power_off();
  }
  const auto image = crashed.crash_image(sim::CrashPolicy::nothing());
  sim::SimDisk& disk = *image;
  LogHarness harness(disk, ledger, changed);
  const auto opened = harness.open();
  if (!opened) return opened.error().to_string();
  if (auto wrong = compare(harness, ledger); !wrong.empty()) return wrong;
  settle(harness, ledger);
  for (const auto& [id, log] : ledger.logs) {
    harness.listen(id);
    if (!harness.append(id, 500, LeaderEpoch(9)))
      return fmt::format("{} takes no records", id.to_string());
  }
  for (const auto& [id, log] : ledger.logs) {
    if (!harness.wait_durable(id)) return fmt::format("{} does not acknowledge", id.to_string());
    if (log.acknowledged != log.end()) return fmt::format("{} did not tell", id.to_string());
  }
  if (auto wrong = compare(harness, ledger); !wrong.empty()) return "gone on: " + wrong;
  if (!harness.create(partition_of(7, 7))) return "no new log can be made";
  return "";
}

TEST(LogCrashTest, EveryPowerCutKeepsWhatWasAcknowledged) {
  std::uint64_t checked = 0;
  for (std::uint64_t point = 1;; ++point) {
    sim::SimDisk disk;
    disk.stop_at(point);
    Ledger ledger;
    ASSERT_TRUE(history(disk, ledger, 1) || disk.powered_off()) << "the history itself failed";
    std::size_t number = 0;
    for (const sim::CrashPolicy& policy : disk.crash_policies(3, point)) {
      const auto found = disk.crash_image(policy);
      // Every third image meets another number of shards.
      const auto wrong = check_goes_on(*found, ledger, (point + number++) % 3 == 0 ? 3 : 2);
      ASSERT_EQ(wrong, "") << disk.stopped_by() << ", " << policy.to_string();
      ++checked;
    }
    if (!disk.powered_off()) break;
  }
  RecordProperty("images", std::to_string(checked));
  fmt::print("{} crash images\n", checked);
  EXPECT_GT(checked, 1000U);
}

// The power goes again while the first crash is recovered from.
TEST(LogCrashTest, ASecondPowerCutDuringRecoveryKeepsItToo) {
  std::uint64_t checked = 0;
  bool ended = false;
  for (std::uint64_t point = 3; !ended; point += 23) {
    sim::SimDisk disk;
    disk.stop_at(point);
    Ledger ledger;
    history(disk, ledger, 2);
    ended = !disk.powered_off();
    const auto found = disk.crash_image(sim::CrashPolicy::random(point));
    for (std::uint64_t second = 1 + point % 3;; second += 3) {
      const auto again = found->crash_image(sim::CrashPolicy::everything());
      again->stop_at(second);
      Ledger unchanged = ledger;
      {
        LogHarness harness(*again, unchanged, options(5));
        static_cast<void>(harness.open());
      }
      for (const sim::CrashPolicy& policy :
           {sim::CrashPolicy::nothing(), sim::CrashPolicy::everything(),
            sim::CrashPolicy::random(second)}) {
        const auto image = again->crash_image(policy);
        const auto wrong = check_goes_on(*image, ledger, 2);
        ASSERT_EQ(wrong, "") << disk.stopped_by() << "; then " << again->stopped_by() << ", "
                             << policy.to_string();
        ++checked;
      }
      if (!again->powered_off()) break;
    }
  }
  fmt::print("{} crash images\n", checked);
  EXPECT_GT(checked, 500U);
}

// The process is killed, a new one starts on what it left un-synced, and then the power goes: while
// it starts, or after it went on for a while. What it took over counts as acknowledged.
TEST(LogCrashTest, APowerCutAfterAKillAndARestartKeepsWhatTheRestartFound) {
  std::uint64_t checked = 0;
  bool ended = false;
  for (std::uint64_t point = 1; !ended; point += 2) {
    sim::SimDisk disk;
    disk.stop_at(point);
    Ledger ledger;
    history(disk, ledger, 3);
    ended = !disk.powered_off();
    const auto in_flight =
        point % 3 == 0 ? sim::CrashPolicy::random(point) : sim::CrashPolicy::everything();
    const auto killed = disk.kill_image(in_flight);
    Ledger later = ledger;
    {
      LogHarness harness(*killed, later, options(7));
      const auto opened = harness.open();
      ASSERT_TRUE(opened) << disk.stopped_by() << ": " << opened.error().to_string();
      ASSERT_EQ(compare(harness, later), "") << disk.stopped_by();
      settle(harness, later);
      if (point % 5 == 0) {
        for (const auto& [id, log] : later.logs) harness.listen(id);
        for (const auto& [id, log] : Ledger(later).logs) {
          ASSERT_TRUE(append_many(harness, id, 2, 300, LeaderEpoch(8)));
        }
        harness.pass(milliseconds(1));
      }
      killed->power_off();
    }
    for (const sim::CrashPolicy& policy :
         {sim::CrashPolicy::nothing(), sim::CrashPolicy::data_only(),
          sim::CrashPolicy::names_only(), sim::CrashPolicy::random(point)}) {
      const auto wrong = check_goes_on(*killed->crash_image(policy), later, 2);
      ASSERT_EQ(wrong, "") << "killed at " << disk.stopped_by() << "; then " << policy.to_string();
      ++checked;
    }
    if (point % 7 != 1) continue;
    for (std::uint64_t second = 1 + point % 2;; second += 2) {
      const auto again = disk.kill_image(in_flight);
      again->stop_at(second);
      Ledger unchanged = ledger;
      {
        LogHarness harness(*again, unchanged, options(8));
        static_cast<void>(harness.open());
      }
      for (const sim::CrashPolicy& policy :
           {sim::CrashPolicy::nothing(), sim::CrashPolicy::random(second)}) {
        const auto wrong = check_goes_on(*again->crash_image(policy), ledger, 2);
        ASSERT_EQ(wrong, "") << "killed at " << disk.stopped_by() << "; then "
                             << again->stopped_by() << ", " << policy.to_string();
        ++checked;
      }
      if (!again->powered_off()) break;
    }
  }
  fmt::print("{} crash images\n", checked);
  EXPECT_GT(checked, 500U);
}

}  // namespace
}  // namespace tidelog::log
