// A journal that is missing in part, after a crash: whatever is gone, and however it went, no
// acknowledged record is missing from a log that says it is sound, and `log verify` says so first.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "log/inspect.h"
#include "log/repair.h"
#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kJournal = "data/journal/0-0";
const TopicPartition kSecondShards = partition_of(3, 0);  // of two shards

class JournalLossTest : public LogFixture {
 protected:
  static HarnessOptions shards(std::size_t count) {
    HarnessOptions options;
    options.shards = count;
    return options;
  }
  void zero(sim::SimDisk& disk, const std::string& path, std::uint64_t from = 0) {
    const std::vector<std::byte> zeros(disk.contents(path).size() - from);
    disk.overwrite(path, from, zeros);
  }
  std::string problems(sim::SimDisk& disk) {
    const auto report = verify_path(disk, "data");
    if (!report) return report.error().to_string();
    std::string all;
    for (const std::string& problem : report->problems) all += problem + "\n";
    return all;
  }
  std::map<TopicPartition, LogHealth> health(sim::SimDisk& disk, std::size_t count) {
    Ledger ledger = ledger_;
    LogHarness harness(disk, ledger, shards(count));
    const auto opened = harness.open();
    EXPECT_TRUE(opened) << opened.error().to_string();
    std::map<TopicPartition, LogHealth> found;
    for (PartitionLog* log : opened ? harness.all() : std::vector<PartitionLog*>()) {
      found[log->id()] = log->health();
      const auto& known = ledger_.logs[log->id()];
      if (log->health() != LogHealth::kSound) continue;
      EXPECT_GE(log->log_end(), known.acknowledged) << log->id().to_string();
      for (const auto& [base, batch] : known.batches) {
        const auto read = harness.read_all(log->id(), base, batch.next);
        EXPECT_TRUE(read && *read == batch.bytes) << log->id().to_string() << " " << base.value();
      }
    }
    return found;
  }
  // Verify tells `path`, and each start after that says that all logs may have lost records.
  void expect_told_and_lossy(sim::SimDisk& disk, const std::string& path) {
    EXPECT_TRUE(problems(disk).contains(path)) << problems(disk);
    for (int life = 0; life < 2; ++life) {
      for (const auto& [id, is] : health(disk, 1)) EXPECT_EQ(is, LogHealth::kLossy) << life;
    }
  }
  std::unique_ptr<sim::SimDisk> copy() const {
    return disk_->crash_image(sim::CrashPolicy::everything());
  }
  // Two logs with acknowledged records, some of them younger than the last checkpoint.
  void live() {
    start();
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(harness_->create(kOther));
    append_durably(kId, 3);
    append_durably(kOther, 2);
    harness_->pass(seconds(6));
    append_durably(kId, 3);
    append_durably(kOther, 1);
    crash();
  }
  // The ring has a second file, in which the newest records are.
  void live_in_two_files() {
    start();
    ASSERT_TRUE(harness_->create(kId));
    std::uint64_t appended = 0;
    const auto in_second = [this] {
      const auto files = disk_->files();
      if (std::ranges::find(files, "data/journal/0-1") == files.end()) return false;
      const auto bytes = disk_->contents("data/journal/0-1");
      return has_write_magic(std::span(bytes).subspan(kJournalDataStart));
    };
    while (!in_second() && ++appended < 200) append_durably(kId, 1, 3000);
    ASSERT_TRUE(in_second());
    crash();
  }
};

TEST_F(JournalLossTest, ALossOfMoreWritesThanAnyRingHoldsIsToldAsOne) {
  live();
  const auto disk = copy();
  std::vector<std::byte> file = disk->contents(kJournal);
  auto header = decode_write_header(std::span(file).subspan(kJournalDataStart));
  ASSERT_TRUE(header.has_value());
  header->sequence = std::uint64_t{1} << 60;
  header->durable = header->sequence - 1;
  header->entries = 0;
  header->bytes_used = kWriteHeaderBytes;
  header->position = file.size() - io::kBlockBytes;
  std::vector<std::byte> forged(io::kBlockBytes);
  encode_write_header(*header, forged);
  disk->overwrite(kJournal, header->position, forged);
  EXPECT_TRUE(problems(*disk).contains("to 1152921504606846975 were complete and are damaged"))
      << problems(*disk);
  for (const auto& [id, is] : health(*disk, 1)) EXPECT_EQ(is, LogHealth::kLossy);
}

TEST_F(JournalLossTest, CutAnywhereItIsToldAndNothingIsMissingSilently) {
  live();
  const std::uint64_t size = disk_->contents(kJournal).size();
  for (std::uint64_t length = 0; length < size; length += io::kBlockBytes) {
    for (const std::uint64_t bytes : {length, length + 100}) {
      SCOPED_TRACE(bytes);
      const auto damaged = copy();
      damaged->cut(kJournal, bytes);
      expect_told_and_lossy(*damaged, kJournal);
    }
  }
}

TEST_F(JournalLossTest, FilledWithZerosItIsToldAndNothingIsMissingSilently) {
  live();
  const auto all = copy();
  zero(*all, kJournal);
  expect_told_and_lossy(*all, kJournal);
  const auto headers = copy();
  headers->overwrite(kJournal, 0, std::vector<std::byte>(kJournalDataStart));
  expect_told_and_lossy(*headers, kJournal);
  // A checkpoint knew that writes were there.
  const auto writes = copy();
  zero(*writes, kJournal, kJournalDataStart);
  expect_told_and_lossy(*writes, kJournal);
  const auto newest = copy();
  zero(*newest, kJournal, journal_write_at(kJournal, 2));
  expect_told_and_lossy(*newest, kJournal);
}

TEST_F(JournalLossTest, WithoutCheckpointTheCatalogSaysThatThereWasAJournal) {
  live();
  zero(*disk_, kJournal);
  for (const char* checkpoint : {"data/checkpoint.0", "data/checkpoint.1"}) {
    disk_->flip_bit(checkpoint, 333);
  }
  expect_told_and_lossy(*disk_, kJournal);
}

TEST_F(JournalLossTest, WhatIsStillThereIsServedAndALossThatWasAcceptedIsOver) {
  live();
  // Headers alone: what stands behind them is of the journal that the checkpoint names.
  disk_->overwrite(kJournal, 0, std::vector<std::byte>(kJournalDataStart));
  {
    const auto repair = Repair::open(*disk_, "data");
    ASSERT_TRUE(repair) << repair.error().to_string();
    const auto finding = (*repair)->find();
    ASSERT_TRUE(finding && *finding);
    EXPECT_EQ((*finding)->partitions.size(), 2U);
    ASSERT_TRUE((*repair)->accept());
    const auto more = (*repair)->find();
    ASSERT_TRUE(more);
    EXPECT_FALSE(*more);
  }
  EXPECT_EQ(problems(*disk_), "");
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  harness_->listen(kId);
  append_durably(kId, 2, 300, LeaderEpoch(2));
  crash();
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(JournalLossTest, OfTwoShardsOnlyTheLogsOfThatJournalAreLossy) {
  start(shards(2));
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kSecondShards));
  append_durably(kId, 3);
  append_durably(kSecondShards, 3);
  crash();
  for (const auto& [path, lossy] : std::map<std::string, TopicPartition>{
           {kJournal, kId}, {"data/journal/1-0", kSecondShards}}) {
    SCOPED_TRACE(path);
    for (const bool cuts : {false, true}) {
      const auto damaged = copy();
      if (cuts) {
        damaged->cut(path, 0);
      } else {
        zero(*damaged, path);
      }
      EXPECT_TRUE(problems(*damaged).contains(path));
      for (const auto& [id, is] : health(*damaged, 2)) {
        EXPECT_EQ(is, id == lossy ? LogHealth::kLossy : LogHealth::kSound) << id.to_string();
      }
    }
  }
}

TEST_F(JournalLossTest, AJournalWhoseMakingWasCutShortHeldNothing) {
  live();
  std::string next;
  for (int number = 0; next.empty() || disk_->exists(next).value(); ++number) {
    next = fmt::format("data/journal/0-{}", number);
  }
  for (const std::size_t bytes : {0, 4096, 40960}) {
    const auto started = copy();
    started->put("data/journal/1-0", std::vector<std::byte>(bytes));
    EXPECT_EQ(problems(*started), "");
    for (const auto& [id, is] : health(*started, 2)) EXPECT_EQ(is, LogHealth::kSound);
    const auto grown = copy();
    grown->put(next, std::vector<std::byte>(bytes));
    EXPECT_EQ(problems(*grown), "");
    for (const auto& [id, is] : health(*grown, 1)) EXPECT_EQ(is, LogHealth::kSound);
  }
}

TEST_F(JournalLossTest, AFurtherFileOfTheRingIsMissedHoweverItWent) {
  live_in_two_files();
  EXPECT_EQ(problems(*disk_), "");
  const std::string second = "data/journal/0-1";
  const std::map<std::string, std::function<void(sim::SimDisk&)>> damages = {
      {"missing", [&](sim::SimDisk& disk) { disk.erase(second); }},
      {"empty", [&](sim::SimDisk& disk) { disk.cut(second, 0); }},
      {"short", [&](sim::SimDisk& disk) { disk.cut(second, kJournalDataStart); }},
      {"zeros", [&](sim::SimDisk& disk) { zero(disk, second); }},
  };
  for (const auto& [name, damage] : damages) {
    SCOPED_TRACE(name);
    const auto damaged = copy();
    damage(*damaged);
    expect_told_and_lossy(*damaged, second);
  }
  const auto first = copy();
  first->erase(kJournal);
  expect_told_and_lossy(*first, kJournal);
}

// The ring that a start takes over has all the files that it names, and no others.
TEST_F(JournalLossTest, ARingThatGrewIsTakenOverAndStillMissesNoFile) {
  live_in_two_files();
  for (int life = 0; life < 3; ++life) {
    start();
    EXPECT_TRUE(harness_->store().recovery().problems.empty());
    EXPECT_EQ(compare(*harness_, ledger_), "");
    harness_->listen(kId);
    append_durably(kId, 20, 3000, LeaderEpoch(2 + life));
    crash();
    const auto damaged = copy();
    damaged->erase("data/journal/0-1");
    expect_told_and_lossy(*damaged, "data/journal/0-1");
  }
}

}  // namespace
}  // namespace tidelog::log
