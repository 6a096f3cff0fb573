// Every crash of a local store: during its life, and during the recovery after one.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "tests/replication/open_store.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::SimDisk;
using std::chrono::milliseconds;

using State = std::map<std::string, std::pair<std::string, Revision>>;

State state_of(OpenStore& open) {
  State state;
  const auto listing = list(open.executor, *open.store, "");
  EXPECT_TRUE(listing.has_value());
  if (listing) {
    for (const KeyValue& entry : listing->entries) {
      state[entry.key] = {entry.value, entry.mod_revision};
    }
  }
  return state;
}

// Thirty transactions, several at a time, over a few snapshots.
class History {
 public:
  static constexpr Revision kTransactions = 30;

  static std::vector<Operation> operations(Revision revision) {
    const std::string n = std::to_string(revision);
    std::vector<Operation> operations = {put("k" + std::to_string(revision % 5), n),
                                         put("pair-a", n), put("pair-b", n)};
    if (revision % 7 == 3) operations[0].value.reset();
    return operations;
  }
  // The keys after the first `revision` transactions.
  static State state_at(Revision revision) {
    State state;
    for (Revision r = 1; r <= revision; ++r) {
      for (const Operation& operation : operations(r)) {
        if (operation.value) {
          state[operation.key] = {*operation.value, r};
        } else {
          state.erase(operation.key);
        }
      }
    }
    return state;
  }

  // Runs on `disk` until the end or until the power goes.
  void run(SimDisk& disk) {
    OpenStore open(disk, 24 << 10, counting_ids());
    if (open.error) return;
    while (sent_ < kTransactions && !disk.powered_off()) {
      const Revision group = 1 + sent_ % 4;
      for (Revision i = 0; i < group && sent_ < kTransactions; ++i) {
        open.store->commit({{}, operations(++sent_)}, [this](Result<TransactionResult> result) {
          if (result && result->succeeded)
            acknowledged_ = std::max(acknowledged_, result->revision);
        });
      }
      open.executor.run_until_idle();
      if (sent_ % 9 == 0) open.executor.run_for(milliseconds(100));  // quiet: a confirmation
    }
  }

  Revision sent() const { return sent_; }
  Revision acknowledged() const { return acknowledged_; }

 private:
  Revision sent_ = 0;
  Revision acknowledged_ = 0;
};

// The revision found on `disk`, after checking that it is one of the history's states that may be
// there.
Revision check_found(SimDisk& disk, Revision acknowledged, Revision sent,
                     const std::string& where) {
  OpenStore open(disk, 24 << 10);
  if (open.error) {
    ADD_FAILURE() << where << ": " << open.error->message();
    return 0;
  }
  const auto listing = list(open.executor, *open.store, "");
  const Revision found = listing ? listing->revision : 0;
  EXPECT_GE(found, acknowledged) << where << ": an acknowledged transaction is lost";
  EXPECT_LE(found, sent) << where;
  EXPECT_EQ(state_of(open), History::state_at(found)) << where;
  // And the store goes on.
  const auto next = open.commit({put("after", "crash")});
  EXPECT_TRUE(next && next->revision == found + 1) << where;
  return found;
}

TEST(LocalStoreCrashTest, KeepsEveryAcknowledgedTransactionAndNoneByHalf) {
  std::uint64_t crashes = 0;
  for (std::uint64_t point = 1;; ++point) {
    SimDisk disk;
    disk.stop_at(point);
    History history;
    history.run(disk);
    for (const CrashPolicy& policy : disk.crash_policies(6, point)) {
      const auto found = disk.crash_image(policy);
      check_found(*found, history.acknowledged(), history.sent(),
                  disk.stopped_by() + ", " + policy.to_string());
      ++crashes;
      if (testing::Test::HasFailure()) return;
    }
    if (!disk.powered_off()) {
      EXPECT_EQ(history.acknowledged(), History::kTransactions);
      break;
    }
  }
  EXPECT_GT(crashes, 500u);
}

TEST(LocalStoreCrashTest, SurvivesASecondCrashDuringRecovery) {
  std::uint64_t crashes = 0;
  for (std::uint64_t point = 1;; point += 3) {
    SimDisk disk;
    disk.stop_at(point);
    History history;
    history.run(disk);
    if (!disk.powered_off()) break;
    for (const CrashPolicy& policy : disk.crash_policies(2, point)) {
      for (std::uint64_t second = 1;; ++second) {
        const auto found = disk.crash_image(policy);
        found->stop_at(second);
        Revision seen = history.acknowledged();
        {
          OpenStore open(*found, 24 << 10);
          if (open.store) {
            // Whatever a reader saw must stay, also if nobody was told that it was committed.
            if (const auto listing = list(open.executor, *open.store, "")) {
              seen = std::max(seen, listing->revision);
            }
          }
        }
        const bool ended = !found->powered_off();
        for (const CrashPolicy& again :
             {CrashPolicy::nothing(), CrashPolicy::everything(), CrashPolicy::names_only(),
              CrashPolicy::data_only(), CrashPolicy::random(second)}) {
          const auto last = found->crash_image(again);
          check_found(*last, seen, history.sent(),
                      disk.stopped_by() + ", " + policy.to_string() + ", then " +
                          found->stopped_by() + ", " + again.to_string());
          ++crashes;
          if (testing::Test::HasFailure()) return;
        }
        if (ended) break;
      }
    }
  }
  EXPECT_GT(crashes, 1000u);
}

}  // namespace
}  // namespace tidelog::replication
