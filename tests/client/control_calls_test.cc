#include "client/control_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ControlCallsTest : public testing::Test {
 protected:
  static constexpr std::uint16_t kPort = 9700;

  ControlCallsTest() {
    broker.stop();
    pool.on_change([this] { calls.advance(); });
  }
  ~ControlCallsTest() override {
    pool.shut_down(Error(ErrorCode::kCancelled, "enough"));
    broker.stop();
    executor.run_for(1s);
  }
  static PoolOptions options() {
    PoolOptions pool;
    pool.seeds = {{"sim", kPort}};
    pool.backoff_min = 2s;  // so that a broker may come late
    return pool;
  }
  struct Outcome {
    std::optional<Result<SharedBytes>> answer;
    SteadyTime at{};
  };
  std::shared_ptr<Outcome> call(std::chrono::milliseconds timeout) {
    auto outcome = std::make_shared<Outcome>();
    calls.call(wire::ApiKey::kMetadata, encode(MetadataRequest{.names = {"t"}}), timeout,
               [this, outcome](Result<SharedBytes> answer) {
                 outcome->answer = std::move(answer);
                 outcome->at = executor.clock().now();
               });
    return outcome;
  }

  sim::SimExecutor executor;
  sim::SimNetwork network{executor, 5};
  sim::ScriptedBroker broker{executor, network, kPort};
  BufferPool buffers{1024 * 1024};
  BrokerPool pool{network, executor, buffers, options(), 1};
  ControlCalls calls{executor, pool};
};

TEST_F(ControlCallsTest, AnswersWhoWaitedForABroker) {
  const auto outcome = call(10s);
  executor.run_for(5s);
  EXPECT_FALSE(outcome->answer.has_value());
  broker.start();
  executor.run_for(4s);
  ASSERT_TRUE(outcome->answer.has_value());
  EXPECT_TRUE(outcome->answer->has_value());
  EXPECT_EQ(broker.counts.metadata, 1);
}

TEST_F(ControlCallsTest, SpendsItsTimeoutOnceOverWaitingForABrokerAndForItsAnswer) {
  const auto start = executor.clock().now();
  const auto outcome = call(10s);
  executor.run_for(5s);
  broker.start();
  ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }, 4s));
  network.silence(kPort, true);  // the request is on its way, the answer never will be
  const auto later = call(10s);
  executor.run_for(60s);
  ASSERT_TRUE(outcome->answer.has_value());
  ASSERT_FALSE(outcome->answer->has_value());
  EXPECT_EQ(outcome->answer->error().code(), ErrorCode::kTimedOut);
  EXPECT_THAT(outcome->answer->error().message(), HasSubstr("broker 1"));
  EXPECT_EQ(outcome->at - start, 10s);
  // Who called later waits on for the same connection.
  ASSERT_TRUE(later->answer.has_value());
  EXPECT_EQ(later->answer->error().code(), ErrorCode::kTimedOut);
  EXPECT_GT(later->at - start, 15s);
}

TEST_F(ControlCallsTest, SaysThatNoBrokerCouldBeReached) {
  const auto outcome = call(60s);
  executor.run_for(60s);
  ASSERT_TRUE(outcome->answer.has_value());
  EXPECT_EQ(outcome->answer->error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(outcome->answer->error().message(), HasSubstr("refused"));
}

TEST_F(ControlCallsTest, CancelsWhatNobodyWaitsForAnyMoreAndKeepsTheConnectionForOthers) {
  broker.start();
  broker.settings.metadata_unanswered = 1;
  const auto late = call(1s);
  executor.run_for(900ms);
  EXPECT_EQ(broker.counts.cancels, 0);
  executor.run_for(200ms);
  ASSERT_TRUE(late->answer.has_value());
  EXPECT_EQ(late->answer->error().code(), ErrorCode::kTimedOut);
  EXPECT_EQ(broker.counts.cancels, 1);
  const auto next = call(1s);
  executor.run_for(1s);
  ASSERT_TRUE(next->answer.has_value());
  EXPECT_TRUE(next->answer->has_value());
  EXPECT_EQ(network.connects(), 1U);
}

}  // namespace
}  // namespace tidelog::client_core
