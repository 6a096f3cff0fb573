#include "log/inspect.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>

#include "log/segment_index.h"
#include "tests/log/log_harness.h"
#include "tests/log/passing_disk.h"

namespace tidelog::log {
namespace {

class InspectTest : public testing::Test {
 protected:
  void SetUp() override {
    HarnessOptions options;
    options.shards = 1;
    harness_ = std::make_unique<LogHarness>(disk_, ledger_, options);
    ASSERT_TRUE(harness_->open());
    ASSERT_TRUE(harness_->create(id_));
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(harness_->append(id_, 2000));
      harness_->pass(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(harness_->wait_durable(id_));
  }
  std::string segment() const { return "data/" + id_.to_string() + "/00000000000000000000.log"; }

  sim::SimDisk disk_;
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
  TopicPartition id_ = partition_of(2, 0);
};

TEST_F(InspectTest, FindsNothingWrongBesideARunningStore) {
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->ok()) << (report->problems.empty() ? "" : report->problems.front());
  ASSERT_EQ(report->partitions.size(), 1U);
  EXPECT_GT(report->journal_writes, 0U);
}

TEST_F(InspectTest, CountsEveryBatchAfterACleanStop) {
  ASSERT_TRUE(harness_->stop_cleanly());
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->ok());
  ASSERT_EQ(report->partitions.size(), 1U);
  const PartitionReport& partition = report->partitions[0];
  EXPECT_EQ(partition.id, id_);
  EXPECT_EQ(partition.batches, 60U);
  EXPECT_EQ(partition.records, 60U);
  EXPECT_EQ(partition.end, Offset(60));
  EXPECT_GT(partition.segments, 1U);
}

TEST_F(InspectTest, NamesDamageWithFileAndByte) {
  ASSERT_TRUE(harness_->stop_cleanly());
  disk_.flip_bit(segment(), 30000 * 8);
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_FALSE(report->ok());
  ASSERT_FALSE(report->partitions[0].problems.empty());
  EXPECT_TRUE(report->partitions[0].problems[0].contains("00000000000000000000.log: byte "))
      << report->partitions[0].problems[0];
  const auto one_file = verify_path(disk_, segment());
  ASSERT_TRUE(one_file) << one_file.error().to_string();
  EXPECT_FALSE(one_file->ok());
}

TEST_F(InspectTest, NamesADamagedCatalogCopyAndAMissingPartition) {
  ASSERT_TRUE(harness_->stop_cleanly());
  disk_.flip_bit("data/catalog.0", 300);
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report);
  ASSERT_EQ(report->problems.size(), 1U);
  EXPECT_TRUE(report->problems[0].contains("catalog.0"));
}

TEST_F(InspectTest, ShowsEveryKindOfFile) {
  ASSERT_TRUE(harness_->stop_cleanly());
  std::map<std::string, int> kinds;
  const auto count = [&](const DumpItem& item) {
    ++kinds[item.kind];
    EXPECT_EQ(item.problem, "") << item.kind << " at " << item.position;
  };
  std::int64_t next = 0;
  for (const std::string& path : disk_.files()) {
    if (path.ends_with("lock")) continue;
    const auto dumped = dump_file(disk_, path, [&](const DumpItem& item) {
      count(item);
      if (path.ends_with(".log") && item.batch) {
        EXPECT_EQ(item.batch->base_offset, Offset(next));
        next = item.batch->next_offset().value();
      }
    });
    EXPECT_TRUE(dumped) << path << ": " << dumped.error().to_string();
  }
  EXPECT_GT(next, 40);  // the journal has the rest
  EXPECT_LE(next, 60);
  for (const char* kind : {"segment", "write", "batch", "journal", "entry", "catalog", "replica",
                           "checkpoint", "log", "meta", "clean-stop", "index"}) {
    EXPECT_GT(kinds[kind], 0) << kind;
  }
}

TEST_F(InspectTest, ShowsWhatARecoverySetAside) {
  ASSERT_TRUE(harness_->stop_cleanly());
  disk_.put(segment() + ".aside-1", std::as_bytes(std::span("what was there")));
  for (const std::string& path : {std::string("data"), "data/" + id_.to_string()}) {
    const auto report = verify_path(disk_, path);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->ok());
    ASSERT_EQ(report->partitions.size(), 1U);
    ASSERT_EQ(report->partitions[0].notes.size(), 1U);
    EXPECT_TRUE(report->partitions[0].notes[0].contains("00000000000000000000.log.aside-1"));
  }
}

TEST_F(InspectTest, AnUnreadableFirstBlockIsAProblemNotTheEnd) {
  ASSERT_TRUE(harness_->stop_cleanly());
  disk_.spoil(segment(), 0);
  for (const std::string& path : {std::string("data"), "data/" + id_.to_string()}) {
    const auto report = verify_path(disk_, path);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_FALSE(report->ok());
  }
}

// A disk on which something happens when a directory is looked at for the first time.
class BusyDisk final : public PassingDisk {
 public:
  BusyDisk(sim::SimDisk& disk, std::string path, std::function<void()> happens)
      : PassingDisk(disk), path_(std::move(path)), happens_(std::move(happens)) {}

  Result<bool> exists(const std::string& path) override {
    if (path == path_ && happens_) std::exchange(happens_, nullptr)();
    return PassingDisk::exists(path);
  }

 private:
  std::string path_;
  std::function<void()> happens_;
};

TEST_F(InspectTest, APartitionThatIsRemovedMeanwhileIsNoProblem) {
  BusyDisk busy(disk_, "data/" + id_.to_string(), [&] { ASSERT_TRUE(harness_->remove(id_)); });
  const auto report = verify_path(busy, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->ok());
  EXPECT_TRUE(report->partitions.empty());
}

// A disk on which a file is just being overwritten when it is opened for the first time.
class OverwrittenDisk final : public PassingDisk {
 public:
  OverwrittenDisk(sim::SimDisk& disk, std::string path)
      : PassingDisk(disk), disk_(disk), path_(std::move(path)), whole_(disk.contents(path_)) {}

  Result<std::unique_ptr<io::File>> open(const std::string& path,
                                         const io::OpenOptions& options) override {
    if (path == path_ && opened_++ < 2) {
      const std::span<const std::byte> whole(whole_);
      disk_.put(path_, opened_ == 1 ? whole.first(whole.size() / 2) : whole);
    }
    return PassingDisk::open(path, options);
  }
  int opened() const { return opened_; }

 private:
  sim::SimDisk& disk_;
  std::string path_;
  std::vector<std::byte> whole_;
  int opened_ = 0;
};

TEST_F(InspectTest, WhatABrokerOverwritesJustNowIsReadAgain) {
  ASSERT_TRUE(harness_->trim(id_, Offset(2)));  // two checkpoints
  for (const char* path : {"data/meta.0", "data/catalog.1", "data/checkpoint.0",
                           "data/checkpoint.1", "data/clean-stop"}) {
    if (path == std::string("data/clean-stop")) ASSERT_TRUE(harness_->stop_cleanly());
    OverwrittenDisk disk(disk_, path);
    const auto report = verify_path(disk, "data");
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->ok()) << path;
    EXPECT_TRUE(report->problems.empty()) << path << ": " << report->problems.front();
    EXPECT_GT(disk.opened(), 1) << path;
  }
}

// Retention goes on while the directory is read: before a partition is listed, or behind that.
TEST_F(InspectTest, SegmentsThatRetentionTakesMeanwhileAreNoProblem) {
  class TrimmedDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<std::vector<io::DirectoryEntry>> list(const std::string& path) override {
      const bool now = path == partition && trim;
      if (now && !listed_first) std::exchange(trim, nullptr)();
      auto entries = PassingDisk::list(path);
      if (now && listed_first) std::exchange(trim, nullptr)();
      return entries;
    }
    std::string partition;
    std::function<void()> trim;
    bool listed_first = false;
  };
  harness_->pass(std::chrono::seconds(6));
  std::int64_t start = 40;
  for (const bool listed_first : {false, true}) {
    TrimmedDisk trimmed(disk_);
    trimmed.partition = "data/" + id_.to_string();
    trimmed.listed_first = listed_first;
    bool gone = false;
    trimmed.trim = [&] {
      ASSERT_TRUE(harness_->trim(id_, Offset(start)));
      harness_->pass(std::chrono::milliseconds(100));
      gone = true;
    };
    const auto report = verify_path(trimmed, "data");
    ASSERT_TRUE(gone);
    ASSERT_TRUE(report) << report.error().to_string();
    ASSERT_EQ(report->partitions.size(), 1U);
    EXPECT_TRUE(report->ok()) << (report->partitions[0].problems.empty()
                                      ? ""
                                      : report->partitions[0].problems[0]);
    EXPECT_EQ(report->partitions[0].first, Offset(start));
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(harness_->append(id_, 2000));
    ASSERT_TRUE(harness_->wait_durable(id_));
    harness_->pass(std::chrono::seconds(6));
    start = 100;
  }
}

TEST_F(InspectTest, AMissingJournalIsAProblem) {
  for (const std::string& path : disk_.files()) {
    if (path.starts_with("data/journal/")) disk_.erase(path);
  }
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_FALSE(report->ok());
  ASSERT_FALSE(report->problems.empty());
  EXPECT_TRUE(report->problems[0].contains("data/journal holds no journal")) << report->problems[0];
}

TEST_F(InspectTest, AnIndexThatSaysOtherThanItsSegmentIsAProblem) {
  ASSERT_TRUE(harness_->stop_cleanly());
  const std::string path = "data/" + id_.to_string() + "/00000000000000000000.idx";
  const auto original = disk_.contents(path);
  const auto problem_with = [&](const std::function<void(DecodedIndex&)>& alter) {
    auto index = decode_index(original);
    EXPECT_TRUE(index.has_value());
    alter(*index);
    disk_.put(path, encode_index(index->summary, index->index, index->producers));
    const auto report = verify_path(disk_, "data");
    EXPECT_TRUE(report);
    const auto& problems = report->partitions.at(0).problems;
    return problems.empty() ? std::string() : problems.front();
  };
  EXPECT_EQ(problem_with([](DecodedIndex&) {}), "");
  const auto told = [&](const std::function<void(DecodedIndex&)>& alter, std::string_view what) {
    const std::string problem = problem_with(alter);
    EXPECT_TRUE(problem.starts_with("00000000000000000000.idx: says ") && problem.contains(what))
        << problem;
  };
  told(
      [](DecodedIndex& index) {
        index.summary.epochs.front().epoch = index.summary.last_epoch = LeaderEpoch(9);
      },
      "other leader epochs");
  told([](DecodedIndex& index) { index.summary.end = index.summary.end + 1; }, "end offset");
  told([](DecodedIndex& index) { index.summary.last_append_time_us -= 1; }, "older times");
  told([](DecodedIndex& index) { index.summary.bytes -= io::kBlockBytes; }, "ending at byte");
  told([](DecodedIndex& index) { index.index.entries.back().position -= 8; },
       "where no batch with it begins");
  told([](DecodedIndex& index) { index.index.entries.front().max_timestamp_ms -= 1; },
       "newest timestamp");
  told(
      [](DecodedIndex& index) {
        index.index.entries.push_back(index.index.entries.back());
        index.index.entries.back().position += 1 << 20;
      },
      "behind all that it covers");
}

TEST_F(InspectTest, AMissingCheckpointIsToldByVerifyAndByTheNextStart) {
  harness_.reset();
  disk_.erase("data/checkpoint.0");
  if (std::ranges::count(disk_.files(), "data/checkpoint.1") > 0) disk_.erase("data/checkpoint.1");
  const auto report = verify_path(disk_, "data");
  ASSERT_TRUE(report) << report.error().to_string();
  ASSERT_EQ(report->problems.size(), 1U);
  EXPECT_TRUE(report->problems[0].contains("data/checkpoint.0 and data/checkpoint.1 are missing"))
      << report->problems[0];
  HarnessOptions options;
  options.shards = 1;
  harness_ = std::make_unique<LogHarness>(disk_, ledger_, options);
  ASSERT_TRUE(harness_->open());
  const auto& problems = harness_->store().recovery().problems;
  EXPECT_TRUE(std::ranges::any_of(problems, [](const std::string& problem) {
    return problem.contains("checkpoint.1 are missing, but the catalog lists 1 logs");
  }));
}

TEST_F(InspectTest, RefusesWhatIsNotTidelogs) {
  disk_.put("else/notes.txt", std::as_bytes(std::span("just some text in a file")));
  EXPECT_EQ(dump_file(disk_, "else/notes.txt", [](const DumpItem&) {}).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(verify_path(disk_, "nowhere").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(verify_path(disk_, "else").error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tidelog::log
