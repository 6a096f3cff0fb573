#include "broker/budgets.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace tidelog::broker {
namespace {

TEST(MemoryBudgetTest, RefusesBeyondTheLimitAndTellsWhenThereIsRoom) {
  MemoryBudget budget(100);
  int freed = 0;
  budget.on_freed([&freed] { ++freed; });
  BudgetHold first = budget.take(60);
  ASSERT_TRUE(first);
  EXPECT_FALSE(budget.take(50));
  EXPECT_EQ(budget.used(), 60U);
  first.release();
  EXPECT_EQ(freed, 1);
  EXPECT_TRUE(budget.take(50));
  EXPECT_EQ(budget.used(), 0U) << "a hold gives back when it goes";
  EXPECT_EQ(freed, 1) << "nobody waited";
}

TEST(MemoryBudgetTest, WhatIsAloneAlwaysGetsIn) {
  MemoryBudget budget(100);
  const BudgetHold huge = budget.take(1000);
  EXPECT_TRUE(huge);
  EXPECT_FALSE(budget.take(1));
  EXPECT_FALSE(budget.has_room());
}

TEST(MemoryBudgetTest, AHoldMovesWithoutChangingTheBudget) {
  MemoryBudget budget(100);
  BudgetHold hold = budget.take(10);
  BudgetHold moved = std::move(hold);
  EXPECT_EQ(moved.bytes(), 10U);
  EXPECT_EQ(budget.used(), 10U);
  moved.release();
  moved.release();
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudgetTest, WhoDoesNotWaitIsNotToldLater) {
  MemoryBudget budget(100);
  int freed = 0;
  budget.on_freed([&freed] { ++freed; });
  BudgetHold hold = budget.take_if_room(80);
  EXPECT_TRUE(hold);
  EXPECT_FALSE(budget.take_if_room(30));
  EXPECT_FALSE(budget.is_waited_for());
  hold.release();
  EXPECT_EQ(freed, 0);
}

TEST(MemoryBudgetTest, AHoldThatShrinksGivesBackTheRest) {
  MemoryBudget budget(100);
  BudgetHold hold = budget.take_anyway(60);
  hold.shrink_to(60);
  EXPECT_EQ(budget.used(), 60U);
  hold.shrink_to(25);
  EXPECT_EQ(hold.bytes(), 25U);
  EXPECT_EQ(budget.used(), 25U);
  hold.release();
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudgetTest, NobodyWhoWaitsIsForgotten) {
  MemoryBudget budget(64);
  std::atomic<std::uint64_t> freed{0};
  budget.on_freed([&freed] {
    ++freed;
    freed.notify_all();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&budget, &freed] {
      for (int i = 0; i < 20'000; ++i) {
        for (;;) {
          const std::uint64_t before = freed.load();
          const BudgetHold hold = budget.take(40);
          if (hold) break;
          // Told after the refusal, or this waits for ever.
          freed.wait(before);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace tidelog::broker
