#include "client/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ConnectionTest : public testing::Test {
 protected:
  static constexpr std::uint16_t kPort = 9700;

  void TearDown() override {
    connection.reset();
    broker.stop();
    executor.run_for(1s);
  }
  Result<> open(std::uint16_t port = kPort) {
    connection = std::make_unique<Connection>(network, executor, pool, connection_options);
    connection->on_closed([this](const Error& error) { closed = error; });
    std::optional<Result<>> opened;
    connection->open("sim", port, [&](Result<> result) { opened = std::move(result); });
    executor.run_until([&] { return opened.has_value(); });
    return opened.value_or(fail(ErrorCode::kInternal, "the open callback never ran"));
  }
  // The call's outcome, once it is there.
  std::optional<std::expected<Answer, CallFailure>>& call(wire::ApiKey api, const Table& table,
                                                          std::chrono::milliseconds timeout = 5s) {
    auto& outcome = outcomes.emplace_back();
    connection->call(api, table, {}, timeout,
                     [&outcome](std::expected<Answer, CallFailure> answer) {
                       outcome.emplace(std::move(answer));
                     });
    return outcome;
  }

  sim::SimExecutor executor;
  sim::SimNetwork network{executor, 5};
  sim::ScriptedBroker broker{executor, network, kPort, 3};
  BufferPool pool{1024 * 1024};
  std::deque<std::optional<std::expected<Answer, CallFailure>>> outcomes;
  std::optional<Error> closed;
  ConnectionOptions connection_options;
  std::unique_ptr<Connection> connection;
};

TEST_F(ConnectionTest, SaysHelloAndLearnsTheBroker) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(connection->hello().broker_id, BrokerId(3));
  EXPECT_THAT(connection->name(), HasSubstr("broker 3"));
}

TEST_F(ConnectionTest, NamesTheAddressThatCannotBeReached) {
  const Result<> opened = open(1);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(opened.error().message(), HasSubstr("sim:1"));
}

TEST_F(ConnectionTest, GivesUpOnABrokerThatDoesNotAnswerTheHello) {
  network.silence(kPort, true);
  const Result<> opened = open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), ErrorCode::kTimedOut);
}

TEST_F(ConnectionTest, SpendsItsTimeoutOnceOverConnectingAndHello) {
  network.set_delay(3s, 3s);  // half of it for either
  const auto start = executor.clock().now();
  const Result<> opened = open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), ErrorCode::kTimedOut);
  EXPECT_EQ(executor.clock().now() - start, 5s);
}

TEST_F(ConnectionTest, SaysWhatAnotherProtocolAnswered) {
  std::unique_ptr<wire::Connection> peer;
  auto listener = network.listen({.host = "sim", .port = 80}, [&](auto stream) {
    peer = std::move(stream);
    peer->send({SharedBytes::copy_of(as_bytes("HTTP/1.1 400 Bad Request\r\n\r\nwhat is this?"))},
               nullptr);
  });
  const Result<> opened = open(80);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), ErrorCode::kMalformedFrame);
  EXPECT_THAT(opened.error().message(), HasSubstr("HTTP"));
}

TEST_F(ConnectionTest, PingsEveryThirdOfTheIdleTime) {
  broker.settings.idle_timeout_ms = 9000;
  ASSERT_TRUE(open().has_value());
  executor.run_for(30s);
  EXPECT_GE(broker.counts.pings, 9);
  EXPECT_LE(broker.counts.pings, 10);
  EXPECT_TRUE(connection->is_open());
}

TEST_F(ConnectionTest, FailsEverythingOpenWhenOneCallTimesOut) {
  ASSERT_TRUE(open().has_value());
  network.silence(kPort, true);
  auto& late = call(wire::ApiKey::kMetadata, encode(MetadataRequest{.names = {"t"}}), 1s);
  auto& other = call(wire::ApiKey::kPing, encode_ping(), 60s);
  executor.run_for(2s);
  ASSERT_TRUE(late && other);
  for (const auto* outcome : {&late, &other}) {
    ASSERT_FALSE((*outcome)->has_value());
    EXPECT_EQ((*outcome)->error().error.code(), ErrorCode::kTimedOut);
    EXPECT_THAT((*outcome)->error().error.message(), HasSubstr("metadata"));
    EXPECT_TRUE((*outcome)->error().maybe_carried_out);
  }
  ASSERT_TRUE(closed.has_value());
}

TEST_F(ConnectionTest, HoldsBackWhatTheBrokerDoesNotAllowAndTellsThatItWasNotSent) {
  broker.settings.requests_in_flight_max = 2;
  ASSERT_TRUE(open().has_value());
  auto& first = call(wire::ApiKey::kPing, encode_ping());
  auto& second = call(wire::ApiKey::kPing, encode_ping());
  auto& third = call(wire::ApiKey::kPing, encode_ping());
  connection->close(Error(ErrorCode::kConnectionClosed, "enough"));
  ASSERT_TRUE(first && second && third);
  EXPECT_TRUE((*first).error().maybe_carried_out);
  EXPECT_TRUE((*second).error().maybe_carried_out);
  EXPECT_FALSE((*third).error().maybe_carried_out);
}

TEST_F(ConnectionTest, HoldsNothingTheBrokerDidAgainstWhatItWasNotSent) {
  broker.settings.requests_in_flight_max = 2;
  ASSERT_TRUE(open().has_value());
  auto& first = call(wire::ApiKey::kPing, encode_ping());
  auto& second = call(wire::ApiKey::kPing, encode_ping());
  auto& third = call(wire::ApiKey::kPing, encode_ping());
  broker.talk_nonsense();  // before it answers what was asked
  executor.run_for(1s);
  ASSERT_TRUE(first && second && third && closed);
  for (const auto* sent : {&first, &second}) {
    EXPECT_EQ((*sent)->error().error.code(), ErrorCode::kMalformedFrame);
    EXPECT_TRUE((*sent)->error().maybe_carried_out);
  }
  EXPECT_EQ((*third).error().error.code(), ErrorCode::kConnectionClosed);
  EXPECT_EQ((*third).error().error.message(), closed->message());
  EXPECT_FALSE((*third).error().maybe_carried_out);
}

TEST_F(ConnectionTest, SendsWhatItHeldBackOnceThereIsRoom) {
  broker.settings.requests_in_flight_max = 2;
  ASSERT_TRUE(open().has_value());
  for (int i = 0; i < 20; ++i) call(wire::ApiKey::kPing, encode_ping());
  executor.run_for(1s);
  EXPECT_EQ(broker.counts.pings, 20);
  for (const auto& outcome : outcomes) EXPECT_TRUE(outcome && outcome->has_value());
}

TEST_F(ConnectionTest, WaitsAsLongAsTheBrokerSaysAndGivesEverythingSoMuchLonger) {
  ASSERT_TRUE(open().has_value());
  broker.settings.ping_throttle_ms = 10'000;
  auto& told = call(wire::ApiKey::kPing, encode_ping());
  executor.run_until([&] { return told.has_value(); });
  broker.settings.ping_throttle_ms = 0;
  auto& next = call(wire::ApiKey::kMetadata, encode(MetadataRequest{.names = {"t"}}), 5s);
  executor.run_for(9s);
  EXPECT_EQ(broker.counts.metadata, 0);
  EXPECT_FALSE(next.has_value());
  executor.run_for(2s);
  EXPECT_EQ(broker.counts.metadata, 1);
  ASSERT_TRUE(next.has_value());
  EXPECT_TRUE(next->has_value());
  EXPECT_TRUE(connection->is_open());
}

TEST_F(ConnectionTest, MayBeDestroyedWhileItWaitsAsTheBrokerSaid) {
  ASSERT_TRUE(open().has_value());
  broker.settings.ping_throttle_ms = 10'000;
  auto& told = call(wire::ApiKey::kPing, encode_ping());
  executor.run_until([&] { return told.has_value(); });
  auto& held = call(wire::ApiKey::kPing, encode_ping(), 60s);
  connection.reset();
  executor.run_for(20s);
  EXPECT_FALSE(held.has_value());
  EXPECT_EQ(broker.counts.pings, 1);
}

TEST_F(ConnectionTest, FailsACallOnAClosedConnectionLaterNotInsideIt) {
  ASSERT_TRUE(open().has_value());
  connection->close(Error(ErrorCode::kConnectionClosed, "enough"));
  auto& outcome = call(wire::ApiKey::kPing, encode_ping());
  EXPECT_FALSE(outcome.has_value());
  executor.run_for(1ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_FALSE((*outcome).error().maybe_carried_out);
}

TEST_F(ConnectionTest, TellsTheReasonOfANotice) {
  ASSERT_TRUE(open().has_value());
  broker.close_with_notice("maintenance");
  executor.run_for(1s);
  ASSERT_TRUE(closed.has_value());
  EXPECT_THAT(closed->message(), HasSubstr("maintenance"));
}

TEST_F(ConnectionTest, MayBeDestroyedInsideItsOwnCallback) {
  ASSERT_TRUE(open().has_value());
  connection->call(wire::ApiKey::kPing, encode_ping(), {}, 5s,
                   [&](const std::expected<Answer, CallFailure>&) { connection.reset(); });
  call(wire::ApiKey::kPing, encode_ping());
  executor.run_for(1s);
  EXPECT_EQ(connection, nullptr);
  EXPECT_FALSE(outcomes.back().has_value());
}

TEST_F(ConnectionTest, SaysThatItsHelloIsTooLargeToBeSent) {
  connection_options.client_name = std::string(wire::kHelloFrameBytesMax, 'x');
  const Result<> opened = open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), ErrorCode::kTooLarge);
}

TEST_F(ConnectionTest, CancelsWhatWaitsAtTheBroker) {
  const TopicId topic = broker.create_topic("t", 1);
  ASSERT_TRUE(open().has_value());
  FetchRequest request;
  request.changed.push_back(
      {.partition = {topic, PartitionIndex(0)}, .bytes_max = 1000, .offset = Offset(0)});
  request.bytes_max = 1000;
  request.max_wait_ms = 3'600'000;
  std::optional<std::expected<Answer, CallFailure>> outcome;
  const Connection::CallId id = connection->call(
      wire::ApiKey::kFetch, encode(request), {}, 2h,
      [&](std::expected<Answer, CallFailure> answer) { outcome.emplace(std::move(answer)); });
  executor.run_for(1s);
  EXPECT_FALSE(outcome.has_value());
  connection->cancel(id);
  executor.run_for(1s);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->has_value());
  EXPECT_EQ(broker.counts.cancels, 1);
  connection->cancel(id);  // it ended
  executor.run_for(1s);
  EXPECT_EQ(broker.counts.cancels, 1);
  EXPECT_EQ(connection->calls_open(), 0U);
}

TEST_F(ConnectionTest, DoesNotSendWhatWasCancelledBefore) {
  broker.settings.requests_in_flight_max = 1;
  ASSERT_TRUE(open().has_value());
  call(wire::ApiKey::kPing, encode_ping());
  std::optional<std::expected<Answer, CallFailure>> outcome;
  const Connection::CallId waiting = connection->call(
      wire::ApiKey::kPing, encode_ping(), {}, 5s,
      [&](std::expected<Answer, CallFailure> answer) { outcome.emplace(std::move(answer)); });
  connection->cancel(waiting);
  EXPECT_FALSE(outcome.has_value());  // never inside the call
  executor.run_for(1s);
  ASSERT_TRUE(outcome.has_value());
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().error.code(), ErrorCode::kCancelled);
  EXPECT_FALSE(outcome->error().maybe_carried_out);
  EXPECT_EQ(broker.counts.pings, 1);
  EXPECT_EQ(broker.counts.cancels, 0);
}

}  // namespace
}  // namespace tidelog::client_core
