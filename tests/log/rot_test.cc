// One bit of one file flips, or one file ends early: every file kind of a data directory, after a
// crash and after a clean stop. For each damage:
//   - `log verify` is right: where it finds nothing, nothing is lost; where something is lost it
//     names the file, and in a segment or journal the byte;
//   - the start is not refused, and tells what it met;
//   - nothing altered is ever served, and no log ends below what it acknowledged;
//   - logs whose files are sound lose nothing and go on;
//   - repair tells exactly what cannot be read, and changes nothing else.
//
// A few hundred damages, by a seed. TIDELOG_ROT_DAMAGES=N tries N of each file, TIDELOG_ROT_SEED
// others of them, TIDELOG_ROT_DAMAGES=all every bit and every length, TIDELOG_ROT_PART=3/61 those
// of them that are the third of each 61.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "log/inspect.h"
#include "log/repair.h"
#include "tests/log/log_fixture.h"
#include "tests/sim/sim_random.h"

namespace tidelog::log {
namespace {

struct Damage {
  std::string path;
  bool cuts = false;
  std::uint64_t at = 0;  // the bit that flips, or the length that is left

  std::string to_string() const {
    return cuts ? fmt::format("{} cut to {} bytes", path, at)
                : fmt::format("{} bit {} of byte {}", path, at % 8, at / 8);
  }
};

class RotTest : public LogFixture {
 protected:
  static HarnessOptions small() {
    HarnessOptions options = one_shard();
    options.store.shard.journal_bytes_max = 64 << 10;
    options.store.shard.destage_bytes = 4 << 10;
    options.settings.segment_bytes = 16 << 10;
    return options;
  }
  // Two logs with sealed segments and indexes, a cut, and records that only the journal holds.
  void live() {
    start(small());
    for (const TopicPartition& id : {kId, kOther}) {
      ASSERT_TRUE(harness_->create(id));
      append_durably(id, 14, 2000);
    }
    harness_->pass(std::chrono::milliseconds(20));
    ASSERT_TRUE(harness_->truncate(kId, Offset(12)));
    append_durably(kId, 3, 700, LeaderEpoch(2));
    append_durably(kOther, 10, 300);
    // The quiet write and checkpoints: from here on everything acknowledged is proven.
    harness_->pass(std::chrono::seconds(12));
  }
  void stop() {
    ASSERT_TRUE(harness_->stop_cleanly());
    harness_.reset();
  }

  std::vector<Damage> damages_of(const std::string& path, sim::SimRandom& random) const {
    const std::vector<std::byte> bytes = disk_->contents(path);
    const char* wanted = std::getenv("TIDELOG_ROT_DAMAGES");
    std::vector<Damage> damages;
    if (wanted != nullptr && std::string_view(wanted) == "all") {
      for (std::uint64_t bit = 0; bit < bytes.size() * 8; ++bit) {
        damages.push_back({path, false, bit});
      }
      for (std::uint64_t length = 0; length < bytes.size(); ++length) {
        damages.push_back({path, true, length});
      }
      return damages;
    }
    const std::size_t count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 24;
    std::vector<std::uint64_t> written;
    for (std::uint64_t at = 0; at < bytes.size(); ++at) {
      if (bytes[at] != std::byte{0}) written.push_back(at);
    }
    for (std::size_t i = 0; i < count && !bytes.empty(); ++i) {
      // Three of four where something stands; what fills up is hit by chance often enough.
      const std::uint64_t at = i % 4 != 0 && !written.empty()
                                   ? written[random.below(written.size())]
                                   : random.below(bytes.size());
      damages.push_back({path, false, at * 8 + random.below(8)});
      const std::uint64_t length = random.below(bytes.size());
      damages.push_back({path, true, i % 2 == 0 ? length : length & ~std::uint64_t{4095}});
    }
    return damages;
  }

  std::unique_ptr<sim::SimDisk> damaged(const Damage& damage) const {
    auto disk = disk_->crash_image(sim::CrashPolicy::everything());
    if (damage.cuts) {
      disk->cut(damage.path, damage.at);
    } else {
      disk->flip_bit(damage.path, damage.at);
    }
    return disk;
  }

  // Offsets that cannot be read. Adds a failure where one is served altered.
  std::vector<Offset> unreadable(LogHarness& harness, const TopicPartition& id) {
    std::vector<Offset> lost;
    for (const auto& [base, batch] : ledger_.logs[id].batches) {
      const auto read = harness.read_all(id, base, batch.next);
      if (read && *read == batch.bytes) continue;
      lost.push_back(base);
      EXPECT_FALSE(read && !read->empty()) << id.to_string() << " altered at " << base.value();
      if (read) continue;
      EXPECT_TRUE(read.error().code() == ErrorCode::kCorruptData ||
                  read.error().code() == ErrorCode::kLostData)
          << read.error().to_string();
    }
    return lost;
  }

  static std::vector<std::string> problems_of(const VerifyReport& report) {
    std::vector<std::string> all = report.problems;
    for (const PartitionReport& partition : report.partitions) {
      for (const std::string& problem : partition.problems) {
        all.push_back(partition.path + "/" + problem);
      }
    }
    return all;
  }

  void check_verdict(const VerifyReport& report, const Damage& damage, bool loses) {
    const std::vector<std::string> problems = problems_of(report);
    if (!loses) return;
    EXPECT_FALSE(problems.empty()) << "something is lost, and nobody says so";
    // A file that ends early may hold no damaged byte: what is missing is named.
    const std::string directory = damage.path.substr(0, damage.path.find_last_of('/'));
    const bool named = std::ranges::any_of(problems, [&](const std::string& problem) {
      const bool place = problem.contains("byte ") || problem.contains("first block");
      return (problem.contains(damage.path) && place) ||
             (damage.cuts && problem.contains(directory));
    });
    EXPECT_TRUE(named) << problems.front();
  }

  // What only a person ends, ended: everything that could be read before still can, no more is
  // given up than was told, and the log goes on.
  void check_repair(sim::SimDisk& disk, const std::map<TopicPartition, std::vector<Offset>>& lost) {
    std::map<TopicPartition, std::vector<Hole>> told;
    {
      auto repair = Repair::open(disk, "data");
      ASSERT_TRUE(repair) << repair.error().to_string();
      for (int accepted = 0; accepted < 5; ++accepted) {
        const auto finding = (*repair)->find();
        ASSERT_TRUE(finding) << finding.error().to_string();
        if (!*finding) break;
        for (const PartitionLoss& loss : (*finding)->partitions) {
          told[loss.id].insert(told[loss.id].end(), loss.lost.begin(), loss.lost.end());
        }
        const auto done = (*repair)->accept();
        ASSERT_TRUE(done) << done.error().to_string();
      }
    }
    LogHarness harness(disk, ledger_, small());
    const auto opened = harness.open();
    ASSERT_TRUE(opened) << opened.error().to_string();
    for (const auto& [id, before] : lost) {
      PartitionLog* log = harness.find(id);
      ASSERT_NE(log, nullptr);
      EXPECT_EQ(log->health(), LogHealth::kSound) << id.to_string();
      EXPECT_GE(log->log_end(), ledger_.logs[id].acknowledged);
      for (const Offset offset : unreadable(harness, id)) {
        EXPECT_TRUE(std::ranges::find(before, offset) != before.end())
            << id.to_string() << " offset " << offset.value() << " was readable before the repair";
      }
      for (const Hole& hole : told[id]) {
        for (Offset at = hole.begin; at < hole.end && at < ledger_.logs[id].end(); at = at + 1) {
          EXPECT_TRUE(std::ranges::find(before, at) != before.end())
              << id.to_string() << " offset " << at.value() << " was there and is given up";
        }
      }
      const auto appended = log->append(make_batch(id, 77, 200), LeaderEpoch(9));
      EXPECT_TRUE(appended) << id.to_string() << ": " << appended.error().to_string();
      EXPECT_TRUE(harness.wait_durable(id));
    }
  }

  struct Stride {
    std::uint64_t part = 1;
    std::uint64_t parts = 1;
    bool takes(std::uint64_t index) const { return index % parts == part - 1; }
  };
  static Stride stride() {
    const char* wanted = std::getenv("TIDELOG_ROT_PART");
    if (wanted == nullptr) return {};
    char* slash = nullptr;
    const std::uint64_t part = std::strtoull(wanted, &slash, 10);
    const std::uint64_t parts = *slash == '/' ? std::strtoull(slash + 1, nullptr, 10) : 0;
    EXPECT_TRUE(part > 0 && part <= parts) << "TIDELOG_ROT_PART: " << wanted;
    return part > 0 && part <= parts ? Stride{part, parts} : Stride{};
  }

  // Returns whether anything was lost.
  bool check(const Damage& damage) {
    SCOPED_TRACE(damage.to_string());
    auto disk = damaged(damage);
    const auto report = verify_path(*disk, "data");
    EXPECT_TRUE(report) << report.error().to_string();
    std::map<TopicPartition, std::vector<Offset>> lost;
    bool loses = false;
    bool lossy = false;
    {
      LogHarness harness(*disk, ledger_, small());
      const auto opened = harness.open();
      EXPECT_TRUE(opened) << opened.error().to_string();
      if (!opened || !report) return false;
      for (const TopicPartition& id : {kId, kOther}) {
        PartitionLog* log = harness.find(id);
        EXPECT_NE(log, nullptr);
        if (log == nullptr) return false;
        EXPECT_GE(log->log_end(), ledger_.logs[id].acknowledged) << id.to_string() << " was cut";
        lost[id] = unreadable(harness, id);
        loses = loses || !lost[id].empty() || log->health() != LogHealth::kSound;
        lossy = lossy || log->health() != LogHealth::kSound;
        if (log->health() != LogHealth::kSound) {
          EXPECT_FALSE(harness.store().recovery().problems.empty()) << "the start says nothing";
        }
        const bool own = damage.path.contains(id.to_string()) || damage.path.contains("journal/");
        if (own) continue;
        EXPECT_EQ(log->health(), LogHealth::kSound) << id.to_string() << " is of other files";
        EXPECT_TRUE(lost[id].empty()) << id.to_string() << " is of other files";
        Ledger beside = ledger_;
        const auto appended = log->append(make_batch(id, 5, 100), LeaderEpoch(7));
        EXPECT_TRUE(appended && harness.wait_durable(id)) << "it goes on";
      }
    }
    check_verdict(*report, damage, loses);
    if (lossy) check_repair(*damaged(damage), lost);
    return loses;
  }

  void check_all() {
    const char* wanted = std::getenv("TIDELOG_ROT_SEED");
    const std::uint64_t seed = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 1;
    const Stride wanted_part = stride();
    std::uint64_t chosen = 0;
    std::uint64_t tried = 0;
    std::uint64_t losses = 0;
    for (const std::string& path : disk_->files()) {
      sim::SimRandom random(seed + chosen);
      std::uint64_t of_file = 0;
      for (const Damage& damage : damages_of(path, random)) {
        if (!wanted_part.takes(chosen++)) continue;
        of_file += check(damage) ? 1 : 0;
        ++tried;
        ASSERT_FALSE(HasFailure()) << damage.to_string() << ", seed " << seed;
      }
      // What there are two of, or can be made anew, costs nothing.
      if (path.contains(".0") || path.contains(".1") || path.ends_with(".idx") ||
          path.ends_with("clean-stop")) {
        EXPECT_EQ(of_file, 0U) << path;
      }
      losses += of_file;
      if (path.contains("journal/")) {
        EXPECT_GT(of_file, 0U) << "what only the journal holds was never hit";
      }
    }
    RecordProperty("damages", std::to_string(tried));
    fmt::print("{} damages, {} of them lose something, all told\n", tried, losses);
    EXPECT_GT(losses, 0U);
  }
};

TEST_F(RotTest, AfterACrashEveryDamageIsToldAndNothingAlteredIsServed) {
  live();
  crash();
  check_all();
}

TEST_F(RotTest, AfterACleanStopEveryDamageIsToldAndNothingAlteredIsServed) {
  live();
  stop();
  check_all();
}

// Each small file by itself, as `log dump` shows it: no byte of it counts for nothing.
TEST_F(RotTest, AFlippedBitOfASmallFileIsToldWithItsByte) {
  live();
  stop();
  sim::SimRandom random(3);
  const auto problem_of = [](sim::SimDisk& disk, const std::string& path) {
    std::string problem;
    const auto shown = dump_file(disk, path, [&](const DumpItem& item) {
      if (problem.empty()) problem = item.problem;
    });
    return shown ? problem : shown.error().message();
  };
  int files = 0;
  for (const std::string& path : disk_->files()) {
    // Segments and journals hold bytes that count for nothing.
    if (path.ends_with(".log") || path.contains("journal/")) continue;
    ASSERT_EQ(problem_of(*disk_, path), "") << path;
    ++files;
    const std::size_t size = disk_->contents(path).size();
    for (std::size_t at = 0; at < size; ++at) {
      const Damage damage{path, false, at * 8 + random.below(8)};
      ASSERT_NE(problem_of(*damaged(damage), path), "") << damage.to_string();
    }
  }
  EXPECT_GT(files, 8);
}

}  // namespace
}  // namespace tidelog::log
