// Whose turn it is in the journal's next write.
#include "log/lane_turns.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "log/journal.h"
#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kTurn = LaneTurns::kTurnBytes;

class Lane final : public JournalLane {
 public:
  Lane() : JournalLane(partition_of(1, 0), 1, Offset(0)) {}
  void durable_moved(std::size_t) override {}
  void make_room(Room) override {}
};

class LaneTurnsTest : public testing::Test {
 protected:
  LaneTurnsTest() {
    for (Lane& lane : lanes_) turns_.add(lane);
  }
  // Which lane is the current one.
  std::size_t current() {
    const JournalLane* lane = &turns_.current();
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (lane == &lanes_[i]) return i;
    }
    return lanes_.size();
  }
  // The lanes whose turns come when each takes all of its credit and has more.
  std::vector<std::size_t> turns(std::size_t count) {
    std::vector<std::size_t> order;
    for (; order.size() < count; turns_.took(turns_.credit(), true)) order.push_back(current());
    return order;
  }

  std::array<Lane, 3> lanes_;
  LaneTurns turns_;
};

TEST_F(LaneTurnsTest, EachHasItsTurnInTheOrderOfAsking) {
  turns_.add(lanes_[0]);  // waits already
  EXPECT_EQ(turns(7), (std::vector<std::size_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST_F(LaneTurnsTest, OneThatAWriteCutShortGoesOnInTheNextWrite) {
  ASSERT_EQ(current(), 0U);
  turns_.took(kTurn / 4, true);
  EXPECT_EQ(current(), 0U);
  EXPECT_EQ(turns_.credit(), kTurn - kTurn / 4);
  turns_.took(turns_.credit(), true);
  EXPECT_EQ(current(), 1U);
}

TEST_F(LaneTurnsTest, OneThatTookMoreThanItsTurnSitsOutAsManyTurns) {
  ASSERT_EQ(current(), 0U);
  turns_.took(3 * kTurn, true);  // a batch is never split
  EXPECT_EQ(turns(7), (std::vector<std::size_t>{1, 2, 1, 2, 1, 2, 0}));
}

TEST_F(LaneTurnsTest, OneThatHasNothingLeftIsAskedNoMoreAndSavesNoCredit) {
  ASSERT_EQ(current(), 0U);
  turns_.took(1, false);
  EXPECT_EQ(turns(4), (std::vector<std::size_t>{1, 2, 1, 2}));
  turns_.add(lanes_[0]);
  EXPECT_EQ(current(), 1U);
  turns_.took(turns_.credit(), false);
  ASSERT_EQ(current(), 2U);
  turns_.took(turns_.credit(), false);
  EXPECT_EQ(current(), 0U);
  EXPECT_EQ(turns_.credit(), kTurn);
}

TEST_F(LaneTurnsTest, RemovingOneLeavesTheOrderOfTheOthers) {
  turns_.remove(lanes_[1]);
  turns_.remove(lanes_[1]);
  EXPECT_EQ(turns(4), (std::vector<std::size_t>{0, 2, 0, 2}));
  turns_.remove(lanes_[0]);
  turns_.remove(lanes_[2]);
  EXPECT_TRUE(turns_.empty());
}

}  // namespace
}  // namespace tidelog::log
