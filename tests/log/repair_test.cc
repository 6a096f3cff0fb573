// What only a person may end, and how it ends: told, accepted, and then nothing but what was told.
#include "log/repair.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/catalog.h"
#include "log/inspect.h"
#include "log/journal_format.h"
#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class RepairTest : public LogFixture {
 protected:
  // Offset 2 of kId is lost: the journal's copy rotted, and later evidence says that it was there.
  void lose_the_last_record() {
    start();
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(harness_->create(kOther));
    append_durably(kId, 3);
    append_durably(kOther, 4);
    harness_->pass(milliseconds(200));
    crash();
    disk_->flip_bit("data/journal/0-0", (journal_write_at("data/journal/0-0", 2) + 200) * 8);
    ledger_.logs[kId].batches.erase(Offset(2));
  }
  std::unique_ptr<Repair> open() {
    auto opened = Repair::open(*disk_, "data");
    if (!opened) ADD_FAILURE() << opened.error().to_string();
    return opened ? std::move(*opened) : nullptr;
  }
  // Accepts everything; how many things there were.
  int accept_all() {
    const auto repair = open();
    for (int accepted = 0;; ++accepted) {
      const auto finding = repair->find();
      if (!finding) ADD_FAILURE() << finding.error().to_string();
      if (!finding || !*finding) return accepted;
      const auto done = repair->accept();
      EXPECT_TRUE(done) << done.error().to_string();
      if (!done || accepted > 5) return accepted;
    }
  }
  ErrorCode read_code(Offset at) {
    const auto read = harness_->read_all(kId, at, at + 1);
    return read ? ErrorCode::kOk : read.error().code();
  }
};

TEST_F(RepairTest, TellsWhatIsLostAndChangesNothingUntilItIsAccepted) {
  lose_the_last_record();
  for (int look = 0; look < 2; ++look) {
    const auto repair = open();
    const auto finding = repair->find();
    ASSERT_TRUE(finding) << finding.error().to_string();
    ASSERT_TRUE(*finding);
    ASSERT_EQ((*finding)->partitions.size(), 1U);
    const PartitionLoss& loss = (*finding)->partitions[0];
    EXPECT_EQ(loss.id, kId);
    EXPECT_EQ(loss.lost, (std::vector<Hole>{{Offset(2), Offset(3)}}));
    EXPECT_EQ(loss.end, Offset(3));
  }
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kOther)->health(), LogHealth::kSound);
}

TEST_F(RepairTest, GoesOnBehindWhatWasAcceptedAndKeepsTheHole) {
  lose_the_last_record();
  EXPECT_EQ(accept_all(), 1);
  for (int life = 0; life < 4; ++life) {
    SCOPED_TRACE(fmt::format("life {}", life));
    start();
    PartitionLog* log = harness_->find(kId);
    ASSERT_EQ(log->health(), LogHealth::kSound);
    EXPECT_EQ(log->log_end(), Offset(3 + 2 * life));
    EXPECT_EQ(log->holes(), (std::vector<Hole>{{Offset(2), Offset(3)}}));
    EXPECT_EQ(read_code(Offset(1)), ErrorCode::kOk);
    EXPECT_EQ(read_code(Offset(2)), ErrorCode::kLostData);
    harness_->listen(kId);
    append_durably(kId, 2, 300, LeaderEpoch(2 + life));
    for (std::int64_t at = 3; at < 5 + 2 * life; ++at) {
      const auto read = harness_->read_all(kId, Offset(at), Offset(at + 1));
      ASSERT_TRUE(read) << at << ": " << read.error().to_string();
      EXPECT_EQ(*read, ledger_.logs[kId].batches.at(Offset(at)).bytes);
    }
    if (life % 2 == 0) {
      crash();
    } else {
      ASSERT_TRUE(harness_->stop_cleanly());
      harness_.reset();
    }
  }
  const auto report = verify_path(*disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->ok());
  ASSERT_EQ(report->partitions.size(), 2U);
  ASSERT_EQ(report->partitions[0].notes.size(), 1U);
  EXPECT_TRUE(report->partitions[0].notes[0].contains("offsets 2 to 2 were lost"));
  EXPECT_EQ(accept_all(), 0);
}

TEST_F(RepairTest, WhatLiesBehindADamagedWriteIsServedAfterwards) {
  // With another number of shards each start brings what the one before left in the journal to the
  // segment, in one write.
  const auto start_life = [&](int life) {
    HarnessOptions options = one_shard();
    options.shards += static_cast<std::size_t>(life % 2);
    start(options);
  };
  for (int life = 0; life < 5; ++life) {
    start_life(life);
    if (life == 0) {
      ASSERT_TRUE(harness_->create(kId));
    }
    append_durably(kId, 2, 3000, LeaderEpoch(1 + life));
    crash();
  }
  start_life(5);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  disk_->erase("data/clean-stop");
  for (const std::string& path : disk_->files()) {
    if (path.ends_with(".idx")) disk_->erase(path);
  }
  std::vector<std::uint64_t> writes;
  const auto bytes = disk_->contents(segment_of(kId));
  for (std::uint64_t at = io::kBlockBytes; at < bytes.size(); at += io::kBlockBytes) {
    if (has_write_magic(std::span(bytes).subspan(at))) writes.push_back(at);
  }
  ASSERT_GT(writes.size(), 2U);
  disk_->flip_bit(segment_of(kId), (writes[1] + 10) * 8);  // in its write header
  start();
  ASSERT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  crash();
  ASSERT_EQ(accept_all(), 1);
  for (int life = 0; life < 3; ++life) {
    start();
    PartitionLog* log = harness_->find(kId);
    ASSERT_EQ(log->health(), LogHealth::kSound);
    ASSERT_EQ(log->holes(), (std::vector<Hole>{{Offset(2), Offset(4)}}));
    const Hole hole = log->holes()[0];
    for (Offset at(0); at < Offset(10); at = at + 1) {
      const auto read = harness_->read_all(kId, at, at + 1);
      if (at >= hole.begin && at < hole.end) {
        EXPECT_FALSE(read) << at.value();
      } else {
        ASSERT_TRUE(read) << at.value() << ": " << read.error().to_string();
        EXPECT_EQ(*read, ledger_.logs[kId].batches.at(at).bytes);
      }
    }
    harness_->listen(kId);
    append_durably(kId, 3, 9000, LeaderEpoch(6 + life));
    EXPECT_EQ(read_code(log->log_end() - 1), ErrorCode::kOk);
    crash();
  }
}

TEST_F(RepairTest, AMissingSegmentAndAMissingDirectoryAreAcceptedAsLost) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId, 60, 3000);
  append_durably(kOther, 20, 3000);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  std::vector<std::string> segments;
  for (const std::string& path : disk_->files()) {
    if (path.starts_with("data/" + kId.to_string()) && path.ends_with(".log")) {
      segments.push_back(path);
    }
    if (path.starts_with("data/" + kOther.to_string())) disk_->erase(path);
  }
  ASSERT_GT(segments.size(), 2U);
  disk_->erase(segments[1]);
  ASSERT_EQ(accept_all(), 1);
  start();
  for (const TopicPartition& id : {kId, kOther}) {
    ASSERT_EQ(harness_->find(id)->health(), LogHealth::kSound) << id.to_string();
    EXPECT_EQ(harness_->find(id)->holes().size(), 1U);
    harness_->listen(id);
    append_durably(id, 3, 3000, LeaderEpoch(2));
  }
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(63));
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(23));
  EXPECT_EQ(read_code(Offset(62)), ErrorCode::kOk);
  crash();
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(23));
}

TEST_F(RepairTest, ALogIsNeverCutIntoWhatItLost) {
  lose_the_last_record();
  accept_all();
  start();
  harness_->listen(kId);
  append_durably(kId, 2, 300, LeaderEpoch(2));
  std::optional<ErrorCode> code;
  harness_->find(kId)->truncate(
      Offset(2), [&](const Result<>& cut) { code = cut ? ErrorCode::kOk : cut.error().code(); });
  harness_->pass(milliseconds(100));
  EXPECT_TRUE(code == ErrorCode::kLostData);
  ASSERT_TRUE(harness_->truncate(kId, Offset(4)));
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
}

TEST_F(RepairTest, ALossInsideWhatWasAcceptedIsNotToldAgain) {
  lose_the_last_record();
  ASSERT_EQ(accept_all(), 1);
  start();
  harness_->listen(kId);
  append_durably(kId, 60, 3000, LeaderEpoch(2));
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  // As though more had been accepted: offsets 1 and 2, of which 2 is missing.
  Catalog catalog(*disk_, "data/catalog");
  ASSERT_TRUE(catalog.load());
  const Catalog::Acceptance wider{kId, {{Offset(1), Offset(3)}}};
  ASSERT_TRUE(catalog.accept(std::span(&wider, 1)));
  disk_->erase("data/clean-stop");
  start();
  ASSERT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->find(kId)->holes(), (std::vector<Hole>{{Offset(1), Offset(3)}}));
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  std::vector<std::string> segments;
  for (const std::string& path : disk_->files()) {
    if (path.starts_with("data/" + kId.to_string()) && path.ends_with(".log")) {
      segments.push_back(path);
    }
  }
  ASSERT_GT(segments.size(), 3U);
  disk_->erase(segments[2]);
  const auto repair = open();
  const auto finding = repair->find();
  ASSERT_TRUE(finding && *finding);
  ASSERT_EQ((*finding)->partitions.size(), 1U);
  ASSERT_EQ((*finding)->partitions[0].lost.size(), 1U);
  EXPECT_GT((*finding)->partitions[0].lost[0].begin, Offset(10));
}

TEST_F(RepairTest, AFirstStartThatWasCutShortNeedsNobody) {
  int looked = 0;
  for (std::uint64_t point = 1;; ++point) {
    SCOPED_TRACE(point);
    sim::SimDisk disk;
    disk.stop_at(point);
    {
      LogHarness first(disk, ledger_, one_shard());
      static_cast<void>(first.open());
    }
    const auto image = disk.crash_image(sim::CrashPolicy::everything());
    auto repair = Repair::open(*image, "data");
    if (repair) {
      const auto finding = (*repair)->find();
      ASSERT_TRUE(finding) << finding.error().to_string();
      EXPECT_FALSE(*finding) << (*finding)->what;
      ++looked;
    }
    if (!disk.powered_off()) break;
  }
  EXPECT_GT(looked, 10);
}

TEST_F(RepairTest, OnlyDirectoriesWithThePartitionsOwnNameArePartitions) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const std::string topic = "data/" + kId.topic.to_string();
  disk_->put(topic + "/7", {});
  disk_->put(topic + "/00/copy", {});
  disk_->put(topic + "/0.old/copy", {});
  disk_->erase("data/catalog.0");
  disk_->erase("data/catalog.1");
  EXPECT_EQ(accept_all(), 1);  // the catalog lists what is there
  start();
  EXPECT_TRUE(harness_->store().recovery().problems.empty())
      << harness_->store().recovery().problems.front();
  EXPECT_EQ(harness_->all().size(), 1U);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RepairTest, RefusesBesideARunningStore) {
  start();
  const auto repair = Repair::open(*disk_, "data");
  ASSERT_FALSE(repair);
  EXPECT_EQ(repair.error().code(), ErrorCode::kDirectoryInUse);
  EXPECT_EQ(Repair::open(*disk_, "elsewhere").error().code(), ErrorCode::kNotFound);
}

TEST_F(RepairTest, ACatalogIsMadeAnewFromWhatIsThere) {
  start();
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kOther, 3);
  ASSERT_TRUE(harness_->remove(kId));
  ASSERT_TRUE(harness_->create(kId));  // another incarnation, of which only the journal knows
  append_durably(kId, 5);
  crash();
  disk_->erase("data/catalog.0");
  disk_->flip_bit("data/catalog.1", 99);
  LogHarness refused(*disk_, ledger_, one_shard());
  const auto opened = refused.open();
  ASSERT_FALSE(opened);
  EXPECT_TRUE(opened.error().message().contains("tidelog log repair data"))
      << opened.error().message();
  EXPECT_EQ(accept_all(), 1);
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  ASSERT_TRUE(harness_->remove(kOther));
  ASSERT_TRUE(harness_->create(kOther));
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(0));
}

TEST_F(RepairTest, AMissingJournalRefusesTheStartUntilItsLossIsAccepted) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  crash();
  disk_->erase("data/journal/0-0");
  LogHarness refused(*disk_, ledger_, one_shard());
  const auto opened = refused.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::kCorruptData);
  EXPECT_TRUE(opened.error().message().contains("tidelog log repair data"))
      << opened.error().message();
  EXPECT_GE(accept_all(), 1);
  start();
  harness_->listen(kId);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  append_durably(kId, 2, 300, LeaderEpoch(2));
}

// A power cut at every step of accepting: the log is LOSSY still, or goes on behind its hole.
TEST_F(RepairTest, APowerCutWhileALossIsAcceptedLeavesItToldOrAccepted) {
  lose_the_last_record();
  bool ended = false;
  int lossy = 0;
  int accepted = 0;
  for (std::uint64_t point = 1; !ended; ++point) {
    SCOPED_TRACE(fmt::format("point {}", point));
    auto disk = disk_->crash_image(sim::CrashPolicy::everything());
    disk->stop_at(point);
    ended = [&] {
      auto repair = Repair::open(*disk, "data");
      if (!repair) return false;
      auto finding = (*repair)->find();
      return finding && *finding && (*repair)->accept();
    }();
    ASSERT_TRUE(ended || disk->powered_off());
    for (const auto& policy : disk->crash_policies(2, point)) {
      const auto image = disk->crash_image(policy);
      LogHarness harness(*image, ledger_, one_shard());
      const auto opened = harness.open();
      ASSERT_TRUE(opened) << opened.error().to_string();
      PartitionLog* log = harness.find(kId);
      ASSERT_EQ(log->log_end(), Offset(3)) << policy.to_string();
      ASSERT_EQ(log->holes(), (std::vector<Hole>{{Offset(2), Offset(3)}})) << policy.to_string();
      ASSERT_TRUE(harness.read_all(kId, Offset(0), Offset(2)));
      ++(log->health() == LogHealth::kLossy ? lossy : accepted);
    }
  }
  EXPECT_GT(lossy, 10);
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace tidelog::log
