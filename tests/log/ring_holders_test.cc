// Which logs are asked to make room in the journal's ring, and how often.
#include "log/ring_holders.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "log/journal.h"
#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

class Lane final : public JournalLane {
 public:
  Lane() : JournalLane(partition_of(1, 0), 1, Offset(0)) {}
  void durable_moved(std::size_t) override {}
  void make_room(Room) override {}
};

class RingHoldersTest : public testing::Test {
 protected:
  void hold(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      lanes_.push_back(std::make_unique<Lane>());
      holders_.hold(*lanes_.back(), i + 1);
    }
  }
  std::vector<JournalLane*> ask(std::uint64_t sequence, Room room = Room::kWanted) {
    std::vector<JournalLane*> asked;
    holders_.ask(sequence, room, [&](JournalLane& lane) { asked.push_back(&lane); });
    return asked;
  }

  std::vector<std::unique_ptr<Lane>> lanes_;
  RingHolders holders_;
};

TEST_F(RingHoldersTest, AsksWhoHoldsOldWritesOldestFirstAndOnlyOnce) {
  hold(1000);
  const auto asked = ask(500);
  ASSERT_EQ(asked.size(), 500U);
  EXPECT_EQ(asked.front(), lanes_.front().get());
  EXPECT_EQ(asked.back(), lanes_[499].get());
  EXPECT_TRUE(ask(500).empty()) << "each commit would ask them all again";
  EXPECT_EQ(ask(501).size(), 1U);
}

TEST_F(RingHoldersTest, AsksAgainWhoMadeRoomAndHoldsSomeStill) {
  hold(3);
  ASSERT_EQ(ask(3).size(), 3U);
  holders_.ended(*lanes_[1]);
  EXPECT_EQ(ask(3), std::vector<JournalLane*>{lanes_[1].get()});
  holders_.hold(*lanes_[0], 9);
  EXPECT_TRUE(ask(8).empty());
  EXPECT_EQ(ask(9), std::vector<JournalLane*>{lanes_[0].get()});
}

TEST_F(RingHoldersTest, AsksOnceMoreWhenItIsUrgent) {
  hold(4);
  ASSERT_EQ(ask(2).size(), 2U);
  EXPECT_EQ(ask(3, Room::kNeeded).size(), 3U);
  EXPECT_TRUE(ask(3, Room::kNeeded).empty());
  EXPECT_TRUE(ask(3).empty());
}

TEST_F(RingHoldersTest, ForgetsWhoHoldsNothing) {
  hold(2);
  holders_.release(*lanes_[0]);
  holders_.ended(*lanes_[0]);
  EXPECT_EQ(ask(9), std::vector<JournalLane*>{lanes_[1].get()});
  holders_.release(*lanes_[1]);
  EXPECT_TRUE(ask(9, Room::kNeeded).empty());
  holders_.hold(*lanes_[1], 4);
  EXPECT_EQ(ask(9).size(), 1U);
}

}  // namespace
}  // namespace tidelog::log
