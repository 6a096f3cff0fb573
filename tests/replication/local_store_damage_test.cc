// Files of a local store that are torn, altered or missing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/replication/open_store.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::SimDisk;
using testing::HasSubstr;

TEST(LocalStoreDamageTest, DropsATornTransactionThatWasNeverAcknowledgedWhereverItIsCut) {
  SimDisk disk;
  std::size_t first_ends = 0;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "kept")}));
    first_ends = records_end(disk);
    ASSERT_TRUE(open.commit({put("a", std::string(5000, 'x'))}));
  }
  const std::string file = log_file(disk);
  const std::size_t second_ends = records_end(disk);
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

TEST(LocalStoreDamageTest, RefusesToStartOnABitFlippedInASnapshot) {
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
TEST(LocalStoreDamageTest, NeverReadsAlteredTransactionsWhateverBitFlips) {
  SimDisk disk;
  {
    OpenStore open(disk);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(open.commit({put("k", std::to_string(i))}));
    ASSERT_TRUE(open.close());
  }
  const std::string file = log_file(disk);
  ASSERT_EQ(records_end(disk), 4u * 4096);
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

TEST(LocalStoreDamageTest, RefusesToStartWithoutItsSnapshotOrItsLog) {
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

}  // namespace
}  // namespace tidelog::replication
