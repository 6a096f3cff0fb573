#include "broker/quotas.h"

#include <gtest/gtest.h>

#include "broker/connection_slots.h"
#include "broker/throttle.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::broker {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr SteadyTime kStart{seconds(1000)};

TEST(QuotaMeterTest, NoRateIsNoLimit) {
  QuotaMeter meter;
  EXPECT_EQ(meter.charge(1ULL << 40, 0, kStart), microseconds(0));
}

TEST(QuotaMeterTest, ASecondsWorthMayBeUsedAtOnceAndTheRestIsDelayed) {
  QuotaMeter meter;
  EXPECT_EQ(meter.charge(600, 1000, kStart), microseconds(0));
  EXPECT_EQ(meter.charge(400, 1000, kStart), microseconds(0));
  EXPECT_EQ(meter.charge(250, 1000, kStart), milliseconds(250));
  EXPECT_EQ(meter.charge(250, 1000, kStart + milliseconds(100)), milliseconds(400));
}

TEST(QuotaMeterTest, WhoWaitsAsToldGetsExactlyTheRate) {
  QuotaMeter meter;
  SteadyTime now = kStart;
  std::uint64_t bytes = 0;
  while (now < kStart + seconds(100)) {
    bytes += 777;
    now += meter.charge(777, 10'000, now);
  }
  // The rate, and the second in advance.
  EXPECT_GE(bytes, 100 * 10'000U);
  EXPECT_LE(bytes, 101 * 10'000U + 777);
}

TEST(QuotaMeterTest, TimeThatWasNotUsedIsLostAfterASecond) {
  QuotaMeter meter;
  EXPECT_EQ(meter.charge(1000, 1000, kStart), microseconds(0));
  EXPECT_EQ(meter.charge(1000, 1000, kStart + seconds(3600)), microseconds(0));
  EXPECT_EQ(meter.charge(1000, 1000, kStart + seconds(3600)), seconds(1));
}

TEST(QuotaMeterTest, NobodyIsDelayedForLongerThanTheLargestDebt) {
  QuotaMeter meter;
  EXPECT_EQ(meter.charge(8 << 20, 1000, kStart), QuotaMeter::kDebtMax);
  EXPECT_EQ(meter.charge(~0ULL, 1, kStart), QuotaMeter::kDebtMax);
  const SteadyTime later = kStart + seconds(10);
  EXPECT_EQ(meter.charge(0, 1000, later), QuotaMeter::kDebtMax - seconds(10));
  EXPECT_EQ(meter.charge(0, 1000, kStart + QuotaMeter::kDebtMax), microseconds(0));
  EXPECT_EQ(meter.charge(1000, 1000, kStart + QuotaMeter::kDebtMax), seconds(1))
      << "what was forgiven is not given on top";
}

TEST(QuotasTest, ConnectionsOfOneNameShareWhatTheyMay) {
  Quotas quotas;
  quotas.set_limits(1000, 2000);
  const auto one = quotas.of("loader", kStart);
  const auto same = quotas.of("loader", kStart);
  const auto other = quotas.of("reader", kStart);
  EXPECT_EQ(quotas.charge_in(*one, 1000, kStart), microseconds(0));
  EXPECT_EQ(quotas.charge_in(*same, 500, kStart), milliseconds(500));
  EXPECT_EQ(quotas.charge_in(*other, 500, kStart), microseconds(0));
  EXPECT_EQ(quotas.charge_out(*same, 2000, kStart), microseconds(0));
  EXPECT_EQ(quotas.charge_out(*one, 1000, kStart), milliseconds(500));
}

TEST(QuotasTest, ANewLimitHoldsAtOnce) {
  Quotas quotas;
  const auto client = quotas.of("loader", kStart);
  EXPECT_EQ(quotas.charge_in(*client, 1 << 30, kStart), microseconds(0));
  quotas.set_limits(1 << 20, 0);
  EXPECT_EQ(quotas.charge_in(*client, 2 << 20, kStart), seconds(1));
  quotas.set_limits(0, 0);
  EXPECT_EQ(quotas.charge_in(*client, 1 << 30, kStart), microseconds(0));
}

TEST(QuotasTest, ManyNamesThatComeAndGoAreForgotten) {
  Quotas quotas;
  const auto stays = quotas.of("stays", kStart);
  const std::weak_ptr<ClientQuota> gone = quotas.of("client", kStart);
  for (int i = 0; i < 10'000; ++i) quotas.of("client-" + std::to_string(i), kStart);
  EXPECT_TRUE(gone.expired());
  EXPECT_EQ(quotas.of("stays", kStart), stays);
}

TEST(QuotasTest, ANewConnectionIsNoNewClient) {
  Quotas quotas;
  quotas.set_limits(1000, 1000);
  EXPECT_EQ(quotas.charge_in(*quotas.of("loader", kStart), 11'000, kStart), seconds(10));
  // However many come and go.
  for (int i = 0; i < 1'000; ++i) quotas.of("client-" + std::to_string(i), kStart);
  EXPECT_EQ(quotas.charge_in(*quotas.of("loader", kStart), 0, kStart), seconds(10));
  const SteadyTime later = kStart + seconds(4);
  EXPECT_EQ(quotas.charge_in(*quotas.of("loader", later), 1000, later), seconds(7));
  // When it is made up for, it is forgotten.
  const SteadyTime end = kStart + seconds(12);
  const std::weak_ptr<ClientQuota> paid = quotas.of("loader", end);
  for (int i = 0; i < 10'000; ++i) quotas.of("later-" + std::to_string(i), end);
  EXPECT_TRUE(paid.expired());
}

TEST(ThrottleTest, HoldsUntilTheTimeOfTheLastCallIsOver) {
  sim::SimExecutor executor;
  Throttle throttle(executor);
  int over = 0;
  EXPECT_FALSE(throttle.holds());
  throttle.hold_for(milliseconds(10), [&over] { ++over; });
  executor.run_for(milliseconds(5));
  EXPECT_EQ(throttle.ms_left(), 5U);
  throttle.hold_for(milliseconds(20), [&over] { over += 10; });
  executor.run_for(milliseconds(19));
  EXPECT_TRUE(throttle.holds());
  EXPECT_EQ(over, 0);
  executor.run_for(milliseconds(1));
  EXPECT_FALSE(throttle.holds());
  EXPECT_EQ(throttle.ms_left(), 0U);
  EXPECT_EQ(over, 10);
}

TEST(ThrottleTest, TellsNobodyOnceItHasEnded) {
  sim::SimExecutor executor;
  int over = 0;
  {
    Throttle throttle(executor);
    throttle.hold_for(milliseconds(10), [&over] { ++over; });
    throttle.end();
    EXPECT_FALSE(throttle.holds());
    throttle.hold_for(milliseconds(10), [&over] { ++over; });
  }
  executor.run_for(seconds(1));
  EXPECT_EQ(over, 0);
}

TEST(ConnectionSlotsTest, BoundAllAndThoseOfOneAddress) {
  ConnectionSlots slots({.all = 3, .of_one_address = 2});
  auto first = slots.take("10.0.0.1:1000");
  auto second = slots.take("10.0.0.1:1001");
  ASSERT_TRUE(first && second);
  const auto third = slots.take("10.0.0.1:1002");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), ErrorCode::kOverloaded);
  EXPECT_NE(third.error().message().find("10.0.0.1"), std::string::npos);
  auto other = slots.take("[fe80::1]:1000");
  ASSERT_TRUE(other);
  EXPECT_FALSE(slots.take("10.0.0.3:1"));
  EXPECT_EQ(slots.used(), 3U);
  second->release();
  second->release();
  EXPECT_TRUE(slots.take("10.0.0.1:1003"));
  EXPECT_EQ(slots.used(), 2U);
}

TEST(ConnectionSlotsTest, NoLimitIsNone) {
  ConnectionSlots slots({});
  std::vector<ConnectionSlot> taken;
  taken.reserve(1000);
  for (int i = 0; i < 1000; ++i) {
    auto slot = slots.take("10.0.0.1:" + std::to_string(i));
    ASSERT_TRUE(slot);
    taken.push_back(std::move(*slot));
  }
  EXPECT_EQ(slots.used(), 1000U);
  taken.clear();
  EXPECT_EQ(slots.used(), 0U);
}

}  // namespace
}  // namespace tidelog::broker
