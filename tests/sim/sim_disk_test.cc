// The simulated disk keeps every promise of the seam and loses everything that was not promised.
#include "tests/sim/sim_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/bytes.h"

namespace tidelog::sim {
namespace {

using log::io::File;
using log::io::OpenMode;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string text(const SimDisk& disk, const std::string& path) {
  const std::vector<std::byte> bytes = disk.contents(path);
  return std::string(as_text(bytes));
}

class SimDiskTest : public ::testing::Test {
 protected:
  std::unique_ptr<File> open(const std::string& path, OpenMode mode = OpenMode::kCreate) {
    auto file = disk_.open(path, {.mode = mode});
    EXPECT_TRUE(file.has_value()) << file.error().to_string();
    return std::move(file).value();
  }
  static void write(File& file, std::uint64_t position, std::string_view bytes) {
    ASSERT_TRUE(file.write_at(FilePosition(position), as_bytes(bytes)).has_value());
  }
  // A stable file of the bytes given.
  std::unique_ptr<File> stable_file(const std::string& path, std::string_view bytes) {
    disk_.put(path, as_bytes(bytes));
    return open(path, OpenMode::kWrite);
  }
  std::unique_ptr<SimDisk> crash(const CrashPolicy& policy = CrashPolicy::nothing()) {
    return disk_.crash_image(policy);
  }

  SimDisk disk_;
};

TEST_F(SimDiskTest, KeepsWhatWasSynced) {
  auto file = open("f");
  write(*file, 0, "hello");
  ASSERT_TRUE(file->sync_data().has_value());
  ASSERT_TRUE(disk_.sync_directory("").has_value());
  EXPECT_EQ(disk_.unsynced_changes(), 0U);
  EXPECT_EQ(text(*crash(), "f"), "hello");
}

TEST_F(SimDiskTest, AKilledProcessLeavesUnsyncedChangesThatTheNextPowerCutLoses) {
  auto file = stable_file("f", "old..");
  disk_.put("gone", as_bytes("there"));
  write(*file, 0, "new!!");
  ASSERT_TRUE(disk_.remove_file("gone").has_value());
  const auto next = disk_.kill_image(CrashPolicy::everything());
  EXPECT_EQ(text(*next, "f"), "new!!");
  EXPECT_THAT(next->files(), ElementsAre("f"));
  const auto lost = next->crash_image(CrashPolicy::nothing());
  EXPECT_EQ(text(*lost, "f"), "old..");
  EXPECT_THAT(lost->files(), ElementsAre("f", "gone"));
  // The next process can make it stable.
  auto again = next->open("f", {.mode = OpenMode::kRead});
  ASSERT_TRUE(again.has_value());
  ASSERT_TRUE((*again)->sync_data().has_value());
  ASSERT_TRUE(next->sync_directory("").has_value());
  const auto kept = next->crash_image(CrashPolicy::nothing());
  EXPECT_EQ(text(*kept, "f"), "new!!");
  EXPECT_THAT(kept->files(), ElementsAre("f"));
  EXPECT_EQ(text(disk_, "f"), "new!!");  // the first disk is its own
}

TEST_F(SimDiskTest, ASpoiledBlockIsUnreadableUntilItIsWritten) {
  const std::string text(10000, 'x');
  auto file = stable_file("f", text);
  disk_.spoil("f", 5000);
  std::vector<std::byte> bytes(4096);
  EXPECT_TRUE(file->read_at(FilePosition(0), bytes).has_value());
  EXPECT_FALSE(file->read_at(FilePosition(1), bytes).has_value());
  EXPECT_TRUE(file->read_at(FilePosition(8192), bytes).has_value());
  write(*file, 4096, text.substr(0, 4096));
  EXPECT_TRUE(file->read_at(FilePosition(4096), bytes).has_value());
}

TEST_F(SimDiskTest, LosesAWriteThatWasNotSynced) {
  auto file = stable_file("f", "old..");
  write(*file, 0, "new!!");
  EXPECT_EQ(text(disk_, "f"), "new!!");
  EXPECT_EQ(text(*crash(), "f"), "old..");
  EXPECT_EQ(text(*crash(CrashPolicy::everything()), "f"), "new!!");
}

TEST_F(SimDiskTest, LosesASizeThatWasNotSynced) {
  auto file = stable_file("f", "12345");
  ASSERT_TRUE(file->truncate(2).has_value());
  EXPECT_EQ(text(disk_, "f"), "12");
  EXPECT_EQ(text(*crash(), "f"), "12345");
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_EQ(text(*crash(), "f"), "12");
  ASSERT_TRUE(file->allocate(FilePosition(0), 8192).has_value());
  EXPECT_EQ(disk_.contents("f").size(), 8192U);
  EXPECT_EQ(text(*crash(), "f"), "12");
}

TEST_F(SimDiskTest, GrownSizeAndContentSurviveIndependently) {
  auto file = stable_file("f", "");
  write(*file, 0, std::string(512, 'a'));
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    seen.insert(text(*crash(CrashPolicy::random(seed)), "f"));
  }
  EXPECT_TRUE(seen.contains(""));
  EXPECT_TRUE(seen.contains(std::string(512, '\0')));
  EXPECT_TRUE(seen.contains(std::string(512, 'a')));
}

TEST_F(SimDiskTest, TheSecondWriteSurvivesWithoutTheFirst) {
  auto file = stable_file("f", std::string(8192, '.'));
  write(*file, 0, std::string(4096, '1'));
  write(*file, 4096, std::string(4096, '2'));
  ASSERT_EQ(disk_.unsynced_changes(), 2U);
  EXPECT_EQ(text(*crash(CrashPolicy::only(1)), "f"),
            std::string(4096, '.') + std::string(4096, '2'));
  EXPECT_EQ(text(*crash(CrashPolicy::all_but(1)), "f"),
            std::string(4096, '1') + std::string(4096, '.'));
}

TEST_F(SimDiskTest, AnOlderWriteNeverCoversANewerOne) {
  auto file = stable_file("f", std::string(4096, '.'));
  write(*file, 0, std::string(4096, '1'));
  write(*file, 0, std::string(4096, '2'));
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto image = crash(CrashPolicy::random(seed));
    auto again = image->open("f", {.mode = OpenMode::kRead});
    ASSERT_TRUE(again.has_value());
  }
  EXPECT_EQ(text(*crash(CrashPolicy::everything()), "f"), std::string(4096, '2'));
  EXPECT_EQ(text(*crash(CrashPolicy::all_but(0)), "f"), std::string(4096, '2'));
}

TEST_F(SimDiskTest, EveryUnsyncedBlockCanBeTornAtOnceAndNoOther) {
  auto file = stable_file("f", std::string(3 * 4096, '.'));
  write(*file, 4096 + 512, std::string(512, 'n'));
  auto made = open("made");
  write(*made, 0, std::string(4096, 'n'));
  const auto image = crash(CrashPolicy::torn());
  const std::string found = text(*image, "f");
  EXPECT_EQ(found.substr(0, 4096), std::string(4096, '.'));
  EXPECT_EQ(found.substr(8192), std::string(4096, '.'));
  for (std::size_t at = 4096; at < 8192; at += 512) {
    EXPECT_NE(found.substr(at, 512), std::string(512, '.')) << at;
    EXPECT_NE(found.substr(at, 512), std::string(512, 'n')) << at;
  }
  EXPECT_EQ(text(*image, "made").size(), 4096U);
  EXPECT_NE(text(*image, "made"), std::string(4096, 'n'));
}

TEST_F(SimDiskTest, TearsAWriteAtSectorsAndDamagesOnlyItsOwnBlocks) {
  auto file = stable_file("f", std::string(3 * 4096, '.'));
  write(*file, 4096, std::string(4096, 'n'));
  bool torn = false;
  bool damaged = false;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::string found = text(*crash(CrashPolicy::random(seed)), "f");
    ASSERT_EQ(found.substr(0, 4096), std::string(4096, '.')) << "the block before, seed " << seed;
    ASSERT_EQ(found.substr(8192), std::string(4096, '.')) << "the block behind, seed " << seed;
    std::set<std::string> kinds;
    for (std::size_t at = 4096; at < 8192; at += 512) kinds.insert(found.substr(at, 512));
    const bool has_old = kinds.erase(std::string(512, '.')) > 0;
    const bool has_new = kinds.erase(std::string(512, 'n')) > 0;
    torn |= has_old && has_new;
    damaged |= !kinds.empty();
  }
  EXPECT_TRUE(torn);
  EXPECT_TRUE(damaged);
}

TEST_F(SimDiskTest, AnUnalignedWriteKeepsTheRestOfItsSector) {
  auto file = stable_file("f", std::string(1024, '.'));
  write(*file, 700, "xyz");
  const std::string whole = std::string(700, '.') + "xyz" + std::string(321, '.');
  EXPECT_EQ(text(disk_, "f"), whole);
  EXPECT_EQ(text(*crash(CrashPolicy::everything()), "f"), whole);
}

TEST_F(SimDiskTest, BytesBehindACutComeBackAsZeros) {
  auto file = stable_file("f", "secret");
  ASSERT_TRUE(file->truncate(1).has_value());
  ASSERT_TRUE(file->truncate(6).has_value());
  EXPECT_EQ(text(disk_, "f"), std::string("s\0\0\0\0\0", 6));
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_EQ(text(*crash(), "f"), std::string("s\0\0\0\0\0", 6));
}

TEST_F(SimDiskTest, LosesACreatedFileWhoseDirectoryWasNotSynced) {
  auto file = open("f");
  write(*file, 0, "hello");
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_THAT(crash()->files(), IsEmpty());
  EXPECT_EQ(text(*crash(CrashPolicy::everything()), "f"), "hello");
  ASSERT_TRUE(disk_.sync_directory("/").has_value());
  EXPECT_EQ(text(*crash(), "f"), "hello");
}

TEST_F(SimDiskTest, LosesARenameWhoseDirectoryWasNotSynced) {
  disk_.put("d/old", as_bytes("content"));
  disk_.put("d/new", as_bytes("replaced"));
  ASSERT_TRUE(disk_.rename("d/old", "d/new").has_value());
  EXPECT_THAT(disk_.files(), ElementsAre("d/new"));
  const auto lost = crash();
  EXPECT_THAT(lost->files(), ElementsAre("d/new", "d/old"));
  EXPECT_EQ(text(*lost, "d/new"), "replaced");
  EXPECT_THAT(crash(CrashPolicy::everything())->files(), ElementsAre("d/new"));
  ASSERT_TRUE(disk_.sync_directory("d").has_value());
  EXPECT_EQ(text(*crash(), "d/new"), "content");
  EXPECT_THAT(crash()->files(), ElementsAre("d/new"));
}

TEST_F(SimDiskTest, ARenameMaySurviveTheContentItWasToCarry) {
  disk_.put("f", as_bytes("old"));
  auto file = open("f.new");
  write(*file, 0, "new");
  ASSERT_TRUE(disk_.rename("f.new", "f").has_value());
  const auto found = crash(CrashPolicy::names_only());
  EXPECT_THAT(found->files(), ElementsAre("f"));
  EXPECT_EQ(text(*found, "f"), "");
}

TEST_F(SimDiskTest, ARenameBetweenDirectoriesNeedsBothSynced) {
  disk_.put("a/f", as_bytes("x"));
  disk_.put("b/other", as_bytes("y"));
  ASSERT_TRUE(disk_.rename("a/f", "b/f").has_value());
  ASSERT_TRUE(disk_.sync_directory("b").has_value());
  EXPECT_THAT(crash()->files(), ElementsAre("a/f", "b/other"));
  EXPECT_THAT(crash(CrashPolicy::everything())->files(), ElementsAre("b/f", "b/other"));
  ASSERT_TRUE(disk_.sync_directory("a").has_value());
  EXPECT_THAT(crash()->files(), ElementsAre("b/f", "b/other"));
}

TEST_F(SimDiskTest, ARemovedFileComesBackUnlessItsDirectoryWasSynced) {
  disk_.put("d/f", as_bytes("ghost"));
  ASSERT_TRUE(disk_.remove_file("d/f").has_value());
  EXPECT_THAT(disk_.files(), IsEmpty());
  EXPECT_EQ(text(*crash(), "d/f"), "ghost");
  ASSERT_TRUE(disk_.sync_directory("d").has_value());
  EXPECT_THAT(crash()->files(), IsEmpty());
}

TEST_F(SimDiskTest, NameChangesSurviveIndependentlyOfTheirOrder) {
  auto one = open("1");
  auto two = open("2");
  EXPECT_THAT(crash(CrashPolicy::only(1))->files(), ElementsAre("2"));
  EXPECT_THAT(crash(CrashPolicy::only(0))->files(), ElementsAre("1"));
}

TEST_F(SimDiskTest, LosesADirectoryWhoseParentWasNotSynced) {
  ASSERT_TRUE(disk_.make_directories("a/b").has_value());
  auto file = open("a/b/f");
  ASSERT_TRUE(disk_.sync_directory("a/b").has_value());
  ASSERT_TRUE(disk_.sync_directory("a").has_value());
  EXPECT_THAT(crash()->files(), IsEmpty());
  EXPECT_FALSE(*crash()->exists("a"));
  ASSERT_TRUE(disk_.sync_directory("").has_value());
  EXPECT_THAT(crash()->files(), ElementsAre("a/b/f"));
}

TEST_F(SimDiskTest, ARemovedDirectoryLeavesNothingBehindOnceItsParentIsSynced) {
  disk_.put("d/f", as_bytes("x"));
  ASSERT_TRUE(disk_.remove_file("d/f").has_value());
  ASSERT_TRUE(disk_.remove_directory("d").has_value());
  EXPECT_EQ(text(*crash(), "d/f"), "x");
  ASSERT_TRUE(disk_.sync_directory("").has_value());
  EXPECT_EQ(disk_.unsynced_changes(), 0U);
  EXPECT_THAT(crash(CrashPolicy::everything())->files(), IsEmpty());
}

TEST_F(SimDiskTest, AFailedSyncLosesWhatItShouldHaveCoveredEvenWhenALaterOneSucceeds) {
  auto file = stable_file("f", "old");
  write(*file, 0, "new");
  disk_.fail_nth(DiskOperation::kSync, 1, DiskFault::kIoError);
  const Result<> failed = file->sync_data();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), ErrorCode::kStorageFailed);
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_EQ(text(disk_, "f"), "new");
  EXPECT_EQ(text(*crash(), "f"), "old");
  write(*file, 0, "NEW");
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_EQ(text(*crash(), "f"), "NEW");
}

TEST_F(SimDiskTest, InjectsTheNthFailureOnce) {
  auto file = open("f");
  disk_.fail_nth(DiskOperation::kWrite, 2, DiskFault::kNoSpace);
  write(*file, 0, "a");
  const Result<> full = file->write_at(FilePosition(1), as_bytes("b"));
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code(), ErrorCode::kStorageFull);
  EXPECT_NE(full.error().message().find("'f'"), std::string::npos);
  write(*file, 1, "b");
  EXPECT_EQ(text(disk_, "f"), "ab");
}

TEST_F(SimDiskTest, RefusesWhatDoesNotFit) {
  disk_.limit_space(2 * 4096);
  auto file = open("f");
  write(*file, 0, std::string(4096, 'x'));
  EXPECT_EQ(disk_.space("")->free_bytes, 4096U);
  EXPECT_EQ(file->allocate(FilePosition(4096), 8192).error().code(), ErrorCode::kStorageFull);
  ASSERT_TRUE(file->allocate(FilePosition(4096), 4096).has_value());
  write(*file, 4096, "fits, for it was allocated");
  EXPECT_EQ(file->write_at(FilePosition(8192), as_bytes("y")).error().code(),
            ErrorCode::kStorageFull);
  ASSERT_TRUE(file->truncate(0).has_value());
  EXPECT_EQ(disk_.space("")->free_bytes, 8192U);
}

TEST_F(SimDiskTest, StopsAtEveryPointWithoutItsEffect) {
  // create, write, sync, sync directory: the file is safe only when all four points have passed.
  for (std::uint64_t n = 1; n <= 5; ++n) {
    SimDisk disk;
    disk.stop_at(n);
    auto file = disk.open("f", {.mode = OpenMode::kCreate});
    if (file) {
      (void)(*file)->write_at(FilePosition(0), as_bytes("hello"));
      (void)(*file)->sync_data();
      (void)disk.sync_directory("");
    }
    EXPECT_EQ(disk.powered_off(), n < 5);
    EXPECT_EQ(disk.stopped_by().empty(), n == 5);
    const auto found = disk.crash_image(CrashPolicy::nothing());
    EXPECT_EQ(found->files().size(), n == 5 ? 1U : 0U) << disk.stopped_by();
    const auto most = disk.crash_image(CrashPolicy::everything());
    ASSERT_EQ(most->files().size(), 1U);
    EXPECT_EQ(text(*most, "f"), n == 1 ? "" : "hello");
  }
}

TEST_F(SimDiskTest, FailsEverythingWhileThePowerIsOff) {
  auto file = stable_file("f", "x");
  disk_.power_off();
  std::byte byte;
  EXPECT_FALSE(file->read_at(FilePosition(0), {&byte, 1}).has_value());
  EXPECT_FALSE(file->write_at(FilePosition(0), {&byte, 1}).has_value());
  EXPECT_FALSE(disk_.open("f", {}).has_value());
  EXPECT_FALSE(disk_.list("").has_value());
  EXPECT_EQ(text(*crash(), "f"), "x");
}

TEST_F(SimDiskTest, ACrashImageIsADiskOfItsOwn) {
  auto file = stable_file("f", std::string(8192, 'a'));
  auto image = crash();
  image->overwrite("f", 0, as_bytes("zz"));
  write(*file, 4096, "yy");
  EXPECT_EQ(text(*image, "f"), "zz" + std::string(8190, 'a'));
  EXPECT_EQ(text(disk_, "f"), std::string(4096, 'a') + "yy" + std::string(4094, 'a'));
  EXPECT_EQ(image->points(), 0U);
}

TEST_F(SimDiskTest, LetsATestDamageFiles) {
  disk_.put("d/f", as_bytes("abc"));
  disk_.flip_bit("d/f", 8);
  EXPECT_EQ(text(disk_, "d/f"), "acc");
  disk_.cut("d/f", 2);
  EXPECT_EQ(text(*crash(), "d/f"), "ac");
  disk_.erase("d/f");
  EXPECT_THAT(crash()->files(), IsEmpty());
}

TEST_F(SimDiskTest, ListsNamesSortedAndTellsDirectories) {
  disk_.put("d/b", {});
  disk_.put("d/a", {});
  disk_.put("d/c/x", {});
  const auto entries = disk_.list("d");
  ASSERT_TRUE(entries.has_value());
  ASSERT_EQ(entries->size(), 3U);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[2].name, "c");
  EXPECT_TRUE((*entries)[2].is_directory);
  EXPECT_EQ(disk_.remove_directory("d").error().code(), ErrorCode::kStorageFailed);
}

TEST_F(SimDiskTest, LocksADirectoryForOneHolder) {
  ASSERT_TRUE(disk_.make_directories("d").has_value());
  {
    auto lock = disk_.lock_directory("d");
    ASSERT_TRUE(lock.has_value());
    EXPECT_EQ(disk_.lock_directory("d").error().code(), ErrorCode::kDirectoryInUse);
  }
  EXPECT_TRUE(disk_.lock_directory("d").has_value());
}

TEST_F(SimDiskTest, RepeatsItselfForTheSameSeed) {
  auto file = stable_file("f", std::string(16384, '.'));
  write(*file, 0, std::string(16384, 'n'));
  EXPECT_EQ(text(*crash(CrashPolicy::random(7)), "f"), text(*crash(CrashPolicy::random(7)), "f"));
  EXPECT_NE(text(*crash(CrashPolicy::random(7)), "f"), text(*crash(CrashPolicy::random(8)), "f"));
}

TEST_F(SimDiskTest, TellsWhereSomethingWasWritten) {
  constexpr std::uint64_t kSize = 64 * 4096;
  auto file = open("f");
  ASSERT_TRUE(file->allocate(FilePosition(0), kSize).has_value());
  EXPECT_EQ(file->next_data(FilePosition(0)), FilePosition(kSize));
  write(*file, 5 * 4096 + 100, "x");
  disk_.spoil("f", 9 * 4096);
  EXPECT_EQ(file->next_data(FilePosition(0)), FilePosition(5 * 4096));
  EXPECT_EQ(file->next_data(FilePosition(5 * 4096 + 7)), FilePosition(5 * 4096 + 7));
  EXPECT_EQ(file->next_data(FilePosition(6 * 4096)), FilePosition(9 * 4096));
  EXPECT_EQ(file->next_data(FilePosition(10 * 4096)), FilePosition(kSize));
  EXPECT_EQ(file->next_data(FilePosition(kSize + 1)), FilePosition(kSize + 1));
  ASSERT_TRUE(file->truncate(4096).has_value());
  EXPECT_EQ(file->next_data(FilePosition(0)), FilePosition(4096));
}

using SimDiskDeathTest = SimDiskTest;

TEST_F(SimDiskDeathTest, ChecksThatDirectFilesAreUsedInBlocks) {
  disk_.put("f", {});
  auto file = disk_.open("f", {.mode = OpenMode::kWrite, .direct = true});
  alignas(4096) std::array<std::byte, 4096> block{};
  ASSERT_TRUE((*file)->write_at(FilePosition(0), block).has_value());
  EXPECT_DEATH((void)(*file)->write_at(FilePosition(512), block), "unaligned position");
  EXPECT_DEATH((void)(*file)->write_at(FilePosition(0), std::span(block).first(512)),
               "unaligned length");
}

TEST_F(SimDiskDeathTest, ChecksThatFilesOpenedForReadingAreNotWritten) {
  disk_.put("f", {});
  auto file = open("f", OpenMode::kRead);
  EXPECT_DEATH((void)file->truncate(0), "open for reading");
}

}  // namespace
}  // namespace tidelog::sim
