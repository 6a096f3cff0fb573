#include "log/io/file_system_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidelog::log::io {
namespace {

using ::testing::HasSubstr;

FileSystemKind classify(std::string type, std::string_view options = "rw,relatime",
                        bool has_journal = true) {
  return classify_file_system(std::move(type), "/data", options, has_journal);
}

TEST(FileSystemKindTest, TrustsLocalJournalledFileSystems) {
  for (const char* type : {"ext4", "xfs", "btrfs", "zfs", "ext3"}) {
    EXPECT_EQ(classify(type).stability, Stability::kStable) << type;
    EXPECT_TRUE(classify(type).reason.empty());
  }
}

TEST(FileSystemKindTest, KnowsWhatIsNoStableStorage) {
  EXPECT_THAT(classify("tmpfs").reason, HasSubstr("memory"));
  EXPECT_THAT(classify("fuse.sshfs").reason, HasSubstr("FUSE"));
  EXPECT_THAT(classify("9p").reason, HasSubstr("host"));
  EXPECT_THAT(classify("overlay", "rw,volatile,upperdir=/u").reason, HasSubstr("volatile"));
  EXPECT_THAT(classify("xfs", "rw,nobarrier").reason, HasSubstr("barriers"));
  EXPECT_THAT(classify("ext4", "rw,barrier=0").reason, HasSubstr("barriers"));
  for (const char* type : {"tmpfs", "fuse.sshfs", "fuseblk", "9p", "ramfs"}) {
    EXPECT_EQ(classify(type).stability, Stability::kNotStable) << type;
  }
}

TEST(FileSystemKindTest, ReadsWholeOptionsOnly) {
  EXPECT_EQ(classify("overlay", "rw,upperdir=/volatile").stability, Stability::kStable);
  EXPECT_EQ(classify("ext4", "rw,barrier=01").stability, Stability::kStable);
}

TEST(FileSystemKindTest, CallsExt4WithoutAJournalWeaker) {
  EXPECT_EQ(classify("ext4", "rw", false).stability, Stability::kWeaker);
  EXPECT_THAT(classify("ext4", "rw", false).reason, HasSubstr("fsck"));
  EXPECT_EQ(classify("ext2").stability, Stability::kWeaker);
}

TEST(FileSystemKindTest, SetsNetworkFileSystemsApart) {
  for (const char* type : {"nfs", "nfs4", "cifs", "smb3"}) {
    EXPECT_EQ(classify(type).stability, Stability::kNetwork) << type;
  }
}

TEST(FileSystemKindTest, FindsTheMountOfADirectory) {
  const auto proc = file_system_kind("/proc/self");
  ASSERT_TRUE(proc.has_value());
  EXPECT_EQ(proc->type, "proc");
  EXPECT_EQ(proc->mount_point, "/proc");
  EXPECT_EQ(file_system_kind("/proc/nonexistent").error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace tidelog::log::io
