#include "replication/local_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::DiskFault;
using sim::DiskOperation;
using sim::SimDisk;
using sim::SimExecutor;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr char kPath[] = "/data/metadata";

// A store on a disk that the test holds.
struct OpenStore {
  explicit OpenStore(SimDisk& disk, std::uint64_t snapshot_log_bytes_min = 1 << 20,
                     std::function<std::uint64_t()> ids = random_ids()) {
    auto result = LocalStore::open(disk, executor, executor,
                                   {.path = kPath,
                                    .snapshot_log_bytes_min = snapshot_log_bytes_min,
                                    .random_id = std::move(ids)});
    if (result) {
      store = std::move(*result);
    } else {
      error = result.error();
    }
  }

  // Unlike counting_ids(): stores opened one after the other on one disk get distinct ids.
  static std::function<std::uint64_t()> random_ids() {
    return [] {
      static std::uint64_t last = 1'000'000;  // beyond what counting_ids() reaches
      return ++last;
    };
  }

  Result<TransactionResult> commit(std::vector<Operation> operations) {
    return replication::commit(executor, *store, {{}, std::move(operations)});
  }
  std::string value(const std::string& key) { return value_of(executor, *store, key); }
  Result<> close() {
    return answer_of<void>(executor, [this](auto done) { store->close(std::move(done)); });
  }

  SimExecutor executor;
  std::unique_ptr<LocalStore> store;
  std::optional<Error> error;
};

std::string log_file(const SimDisk& disk) {
  for (const std::string& file : disk.files()) {
    if (file.find("/log-") != std::string::npos) return file;
  }
  ADD_FAILURE() << "there is no log";
  return "";
}

TEST(LocalStoreTest, KeepsKeysAndRevisionsOverACleanStop) {
  SimDisk disk;
  {
    OpenStore first(disk);
    ASSERT_FALSE(first.error);
    EXPECT_TRUE(first.store->created());
    ASSERT_TRUE(first.commit({put("a", "1"), put("b", "2")}));
    ASSERT_TRUE(first.commit({erase("a")}));
    ASSERT_TRUE(first.close());
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore second(*found);
  ASSERT_FALSE(second.error);
  EXPECT_FALSE(second.store->created());
  EXPECT_EQ(second.store->recovery_note(), "");
  EXPECT_EQ(second.value("a"), "");
  EXPECT_EQ(second.value("b"), "2");
  EXPECT_EQ(second.commit({put("c", "3")})->revision, 3u);
}

TEST(LocalStoreTest, RefusesASecondStoreOnOneDirectory) {
  SimDisk disk;
  OpenStore first(disk);
  ASSERT_FALSE(first.error);
  OpenStore second(disk);
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->code(), ErrorCode::kDirectoryInUse);
}

TEST(LocalStoreTest, LetsTheDirectoryGoWhenItIsClosed) {
  SimDisk disk;
  OpenStore first(disk);
  ASSERT_TRUE(first.close());
  OpenStore second(disk);
  EXPECT_FALSE(second.error);
}

TEST(LocalStoreTest, RefusesTransactionsOnceItIsClosed) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.close());
  EXPECT_EQ(open.commit({put("a", "1")}).error().code(), ErrorCode::kCancelled);
}

TEST(LocalStoreTest, DeletesTheKeysOfLeasesThatAnEarlierProcessHeld) {
  SimDisk disk;
  {
    OpenStore first(disk);
    const auto lease = answer_of<LeaseId>(first.executor, [&](auto done) {
      first.store->grant_lease(std::chrono::hours(1), std::move(done));
    });
    ASSERT_TRUE(first.commit({put("leased", "1", *lease), put("free", "1")}));
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore second(*found);
  EXPECT_EQ(second.value("leased"), "");
  EXPECT_EQ(second.value("free"), "1");
  EXPECT_EQ(list(second.executor, *second.store, "")->revision, 2u);
}

TEST(LocalStoreTest, WritesManyQueuedTransactionsWithOneSync) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.commit({put("first", "")}));
  const std::uint64_t points_before = disk.points();
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    open.store->commit({{}, {put("k" + std::to_string(i), "v")}},
                       [&answers](Result<TransactionResult> result) {
                         ASSERT_TRUE(result && result->succeeded);
                         ++answers;
                       });
  }
  ASSERT_TRUE(open.executor.run_until([&answers] { return answers == 100; }));
  // One transaction may go alone before the others have gathered: two writes and two syncs, each a
  // few points.
  EXPECT_LE(disk.points() - points_before, 8u);
}

TEST(LocalStoreTest, ReplacesALongLogByASnapshotAndGoesOn) {
  SimDisk disk;
  OpenStore open(disk, 16 << 10);
  std::string last_log = log_file(disk);
  int logs = 1;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(open.commit({put("k" + std::to_string(i % 7), std::to_string(i))}));
    open.executor.run_until_idle();
    if (log_file(disk) != last_log) ++logs;
    last_log = log_file(disk);
  }
  EXPECT_GT(logs, 2);
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore again(*found);
  ASSERT_FALSE(again.error);
  EXPECT_EQ(again.value("k4"), "39");
  EXPECT_EQ(list(again.executor, *again.store, "")->revision, 40u);
  EXPECT_EQ(found->files().size(), 2u) << "old logs were left behind";
}

TEST(LocalStoreTest, DropsATornTransactionThatWasNeverAcknowledgedWhereverItIsCut) {
  SimDisk disk;
  std::size_t first_ends = 0;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "kept")}));
    first_ends = disk.contents(log_file(disk)).size();
    ASSERT_TRUE(open.commit({put("a", std::string(5000, 'x'))}));
  }
  const std::string file = log_file(disk);
  const std::size_t second_ends = disk.contents(file).size();
  ASSERT_EQ(second_ends, first_ends + 2 * 4096);
  const std::size_t used =
      64 + 8 + 4 + 1 + 8 + 4 + 4 + 1 + 5000;  // header, transaction, padding behind
  for (std::size_t size = first_ends + 1; size < second_ends; ++size) {
    const auto cut = disk.crash_image(CrashPolicy::everything());
    cut->cut(file, size);
    OpenStore open(*cut);
    ASSERT_FALSE(open.error) << "cut at " << size << ": " << open.error->message();
    const bool whole = size >= first_ends + used;
    ASSERT_EQ(open.value("a").size(), whole ? 5000u : 4u) << "cut at " << size;
    ASSERT_EQ(open.store->recovery_note().empty(), whole) << "cut at " << size;
  }
}

TEST(LocalStoreTest, RefusesToStartOnABitFlippedInASnapshot) {
  SimDisk disk;
  {
    OpenStore open(disk, 1);  // every transaction makes a snapshot
    ASSERT_TRUE(open.commit({put("a", "some value")}));
    ASSERT_TRUE(open.close());
  }
  const std::string file = "data/metadata/snapshot";
  const std::size_t bits = disk.contents(file).size() * 8;
  ASSERT_GT(bits, 64u * 8);
  for (std::size_t bit = 0; bit < bits; ++bit) {
    const auto damaged = disk.crash_image(CrashPolicy::everything());
    damaged->flip_bit(file, bit);
    OpenStore open(*damaged);
    ASSERT_TRUE(open.error) << "bit " << bit;
    EXPECT_EQ(open.error->code(), ErrorCode::kCorruptData);
    EXPECT_THAT(open.error->message(), HasSubstr("snapshot"));
  }
}

// Flips every bit of a log of three transactions and a confirmation. Damage in a transaction is
// reported, since the records behind it prove that it was stable; damage in the confirmation costs
// nothing.
TEST(LocalStoreTest, NeverReadsAlteredTransactionsWhateverBitFlips) {
  SimDisk disk;
  {
    OpenStore open(disk);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(open.commit({put("k", std::to_string(i))}));
    ASSERT_TRUE(open.close());
  }
  const std::string file = log_file(disk);
  const std::vector<std::byte> bytes = disk.contents(file);
  ASSERT_EQ(bytes.size(), 4u * 4096);
  for (std::size_t record = 0; record < 4; ++record) {
    for (std::size_t bit = 0; bit < 160 * 8; ++bit) {
      const auto damaged = disk.crash_image(CrashPolicy::everything());
      damaged->flip_bit(file, record * 4096 * 8 + bit);
      OpenStore open(*damaged);
      if (open.error) {
        ASSERT_LT(record, 3u) << "bit " << bit << " of the confirmation";
        ASSERT_EQ(open.error->code(), ErrorCode::kCorruptData);
        EXPECT_THAT(open.error->message(), HasSubstr(file));
        EXPECT_THAT(open.error->message(), HasSubstr(std::to_string(record * 4096)));
      } else {
        ASSERT_EQ(open.value("k"), "2") << "record " << record << " bit " << bit;
      }
    }
  }
}

TEST(LocalStoreTest, RefusesToStartWithoutItsSnapshotOrItsLog) {
  SimDisk disk;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1")}));
    ASSERT_TRUE(open.close());
  }
  for (const std::string& file : {std::string("data/metadata/snapshot"), log_file(disk)}) {
    const auto damaged = disk.crash_image(CrashPolicy::everything());
    damaged->erase(file);
    OpenStore open(*damaged);
    ASSERT_TRUE(open.error) << "without " << file;
    EXPECT_EQ(open.error->code(), ErrorCode::kCorruptData);
    EXPECT_THAT(open.error->message(), HasSubstr(file));
  }
}

TEST(LocalStoreTest, AnswersUnknownOutcomeForAFailedWriteAndRefusesEverythingAfter) {
  for (const DiskOperation operation : {DiskOperation::kWrite, DiskOperation::kSync}) {
    SimDisk disk;
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1")}));
    disk.fail_nth(operation, 1, DiskFault::kIoError);
    EXPECT_EQ(open.commit({put("a", "2")}).error().code(), ErrorCode::kUnknownOutcome);
    EXPECT_EQ(open.commit({put("a", "3")}).error().code(), ErrorCode::kStorageFailed);
    EXPECT_EQ(open.value("a"), "1") << "what is not stable is not shown";
  }
}

// After a failed sync the bytes may read well and be lost all the same. A process that starts again
// must not build on them before they are stable.
TEST(LocalStoreTest, WhatAFailedSyncLeftIsStableOrGoneAfterTheNextStart) {
  SimDisk disk;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1")}));
    disk.fail_nth(DiskOperation::kSync, 1, DiskFault::kIoError);
    EXPECT_FALSE(open.commit({put("a", "2")}));
  }
  std::string seen;
  {
    OpenStore open(disk);
    ASSERT_FALSE(open.error);
    seen = open.value("a");
    ASSERT_TRUE(open.commit({put("b", "1")}));
  }
  for (const CrashPolicy& policy : disk.crash_policies(16, 3)) {
    const auto found = disk.crash_image(policy);
    OpenStore open(*found);
    ASSERT_FALSE(open.error) << policy.to_string() << ": " << open.error->message();
    EXPECT_EQ(open.value("a"), seen) << policy.to_string();
    EXPECT_EQ(open.value("b"), "1") << policy.to_string();
  }
}

TEST(LocalStoreTest, NoSpaceRefusesOnlyTheTransactionsItHits) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.commit({put("a", "1")}));
  disk.fail_nth(DiskOperation::kWrite, 1, DiskFault::kNoSpace);
  EXPECT_EQ(open.commit({put("a", "2")}).error().code(), ErrorCode::kStorageFull);
  EXPECT_EQ(open.value("a"), "1");
  EXPECT_EQ(open.commit({put("a", "3")})->revision, 2u);
  for (const CrashPolicy& policy : disk.crash_policies(8, 1)) {
    const auto found = disk.crash_image(policy);
    OpenStore again(*found);
    ASSERT_FALSE(again.error) << policy.to_string();
    EXPECT_EQ(again.value("a"), "3") << policy.to_string();
  }
}

TEST(LocalStoreTest, StartsOnAFullDiskAndDeletes) {
  SimDisk disk;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1"), put("b", "1")}));
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  found->fail_nth(DiskOperation::kWrite, 1, DiskFault::kNoSpace);  // the snapshot of the start
  OpenStore open(*found);
  ASSERT_FALSE(open.error) << open.error->message();
  ASSERT_TRUE(open.commit({erase("a")}));
  EXPECT_EQ(open.value("b"), "1");
}

// ---- crash enumeration ----

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
