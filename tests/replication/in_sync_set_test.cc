#include "replication/in_sync_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidelog::replication {
namespace {

using testing::ElementsAre;

TEST(InSyncSetTest, CommitsTheSmallestDurableOffsetOfItsMembers) {
  InSyncSet isr({BrokerId(1), BrokerId(2), BrokerId(3)});
  EXPECT_EQ(isr.committed(), Offset(0));
  EXPECT_FALSE(isr.advance(BrokerId(1), Offset(10)));
  EXPECT_FALSE(isr.advance(BrokerId(2), Offset(20)));
  EXPECT_TRUE(isr.advance(BrokerId(3), Offset(5)));
  EXPECT_EQ(isr.committed(), Offset(5));
  EXPECT_TRUE(isr.advance(BrokerId(3), Offset(30)));
  EXPECT_EQ(isr.committed(), Offset(10));
}

TEST(InSyncSetTest, IgnoresProgressThatGoesBackAndStrangers) {
  InSyncSet isr({BrokerId(1)});
  EXPECT_TRUE(isr.advance(BrokerId(1), Offset(10)));
  EXPECT_FALSE(isr.advance(BrokerId(1), Offset(9)));
  EXPECT_FALSE(isr.advance(BrokerId(2), Offset(99)));
  EXPECT_EQ(isr.committed(), Offset(10));
  EXPECT_FALSE(isr.contains(BrokerId(2)));
}

TEST(InSyncSetTest, WithoutMembersCommitsNothing) {
  EXPECT_EQ(InSyncSet().committed(), Offset(0));
  EXPECT_THAT(InSyncSet({BrokerId(2), BrokerId(1)}).members(),
              ElementsAre(BrokerId(1), BrokerId(2)));
}

}  // namespace
}  // namespace tidelog::replication
