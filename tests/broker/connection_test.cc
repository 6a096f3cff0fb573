#include <gmock/gmock.h>

#include <chrono>
#include <random>
#include <set>

#include "base/bytes.h"
#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::HasSubstr;

class ConnectionTest : public BrokerTest {
 protected:
  // The broker says why in a notice, then closes.
  static void expect_closing(RawClient& client, ErrorCode code, const std::string& saying) {
    const std::optional<Answer> notice = client.receive();
    ASSERT_TRUE(notice) << "a notice comes before the close";
    EXPECT_EQ(notice->prefix.correlation, 0U);
    EXPECT_EQ(notice->prefix.api_key, static_cast<std::uint16_t>(wire::ApiKey::kNotice));
    const auto& table = notice->table<fb::Notice>();
    EXPECT_EQ(table.kind(), fb::NoticeKind::Closing);
    EXPECT_EQ(code_of(table.status()), code);
    EXPECT_THAT(message_of(table.status()), HasSubstr(saying));
    EXPECT_TRUE(client.closes());
  }
};

TEST_P(ConnectionTest, HelloNamesTheBrokerAndItsLimits) {
  RawClient client(broker_->port());
  const Answer answer = client.hello();
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto& hello = answer.table<fb::HelloAnswer>();
  EXPECT_EQ(hello.broker_id(), 7);
  EXPECT_EQ(hello.shard_count(), GetParam());
  EXPECT_LT(hello.shard(), GetParam());
  EXPECT_EQ(hello.frame_bytes_max(), wire::kFrameBytesMax);
  EXPECT_EQ(hello.batch_bytes_max(), wire::kBatchBytesMax);
  EXPECT_EQ(hello.requests_in_flight_max(), wire::kRequestsInFlightMax);
  EXPECT_EQ(hello.apis()->size(), wire::api_table().size() - 1) << "all but notices";
}

TEST_P(ConnectionTest, HelloForAnotherClusterIsRefused) {
  RawClient client(broker_->port());
  flatbuffers::FlatBufferBuilder to;
  const fb::Uuid other = uuid_of(TopicId::random());
  to.Finish(fb::CreateHelloRequest(to, 0, 0, wire::kFrameBytesMax, 0, -1, &other));
  EXPECT_EQ(client.call(wire::ApiKey::kHello, to).code(), ErrorCode::kWrongCluster);
}

TEST_P(ConnectionTest, HelloWithAFrameTooSmallForABatchIsRefused) {
  RawClient client(broker_->port());
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateHelloRequest(to, 0, 0, wire::kBatchBytesMax));
  EXPECT_EQ(client.call(wire::ApiKey::kHello, to).code(), ErrorCode::kTooLarge);
}

TEST_P(ConnectionTest, HelloWithAnUnknownFeatureIsRefused) {
  RawClient client(broker_->port());
  flatbuffers::FlatBufferBuilder to;
  const auto features = to.CreateVectorOfStrings(std::vector<std::string>{"time-travel"});
  to.Finish(fb::CreateHelloRequest(to, 0, 0, wire::kFrameBytesMax, features));
  const Answer answer = client.call(wire::ApiKey::kHello, to);
  EXPECT_EQ(answer.code(), ErrorCode::kUnsupportedFeature);
  EXPECT_THAT(answer.message(), HasSubstr("time-travel"));
}

TEST_P(ConnectionTest, ASecondHelloIsRefusedAndTheConnectionStays) {
  RawClient client = connect();
  EXPECT_EQ(client.hello().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, PingIsAnsweredBeforeTheHello) {
  RawClient client(broker_->port());
  const Answer answer = client.call(wire::ApiKey::kPing, ping());
  EXPECT_EQ(answer.code(), ErrorCode::kOk);
  EXPECT_GT(answer.table<fb::PingAnswer>().wall_ms(), 0);
}

TEST_P(ConnectionTest, OtherRequestsBeforeTheHelloAreRefused) {
  RawClient client(broker_->port());
  EXPECT_EQ(client.metadata({}).code(), ErrorCode::kHelloRequired);
  EXPECT_EQ(client.hello().code(), ErrorCode::kOk);
  EXPECT_EQ(client.metadata({}).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, AnUnknownApiIsAnsweredAndTheConnectionStays) {
  RawClient client = connect();
  const Answer answer = client.call(static_cast<wire::ApiKey>(4711), ping());
  EXPECT_EQ(answer.code(), ErrorCode::kUnsupportedApi);
  EXPECT_THAT(answer.message(), HasSubstr("4711"));
  EXPECT_EQ(client.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, UnknownVersionsAreAnsweredAndTheConnectionStays) {
  RawClient client = connect();
  for (const std::uint16_t version : {0, 2, 99}) {
    const Answer answer = client.receive(client.send(wire::ApiKey::kPing, ping(), {}, version));
    EXPECT_EQ(answer.code(), ErrorCode::kUnsupportedVersion) << version;
  }
  EXPECT_EQ(client.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, ATableThatIsNotSoundIsAnswered) {
  RawClient client = connect();
  flatbuffers::FlatBufferBuilder to;
  // A root offset that points far outside.
  const std::vector<std::uint8_t> garbage(64, 0xEE);
  to.PushFlatBuffer(garbage.data(), garbage.size());
  EXPECT_EQ(client.call(wire::ApiKey::kMetadata, to).code(), ErrorCode::kMalformedFrame);
  EXPECT_EQ(client.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, HttpIsNamedAndClosed) {
  RawClient client(broker_->port());
  client.send_text("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  expect_closing(client, ErrorCode::kMalformedFrame, "HTTP");
}

TEST_P(ConnectionTest, AStrangerThatSendsLessThanAPrefixIsNamedAtOnce) {
  for (const auto& [text, words] :
       {std::pair<std::string, std::string>("GET / HTTP/1.0\r\n\r\n", "HTTP"),
        {std::string("\0\0\0\x0b\0\x12\0\0\0\0\0\x01\0\x01x", 15), "Apache Kafka"},
        {"hello\n", "68 65 6c 6c 6f 0a"}}) {
    RawClient client(broker_->port());
    client.send_text(text);
    expect_closing(client, ErrorCode::kMalformedFrame, words);
  }
}

TEST_P(ConnectionTest, GarbageIsShownAndClosed) {
  RawClient client(broker_->port());
  // More than the broker reads: its notice must arrive all the same.
  client.send_bytes(std::vector<std::byte>(300'000, std::byte{0xAB}));
  expect_closing(client, ErrorCode::kMalformedFrame, "ab ab ab ab");
}

TEST_P(ConnectionTest, AbsurdLengthsAreRefusedBeforeAnythingIsAllocated) {
  for (const std::uint32_t length : {0U, 31U, 64U * 1024 + 1, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    RawClient client(broker_->port());
    std::vector<std::byte> frame = client.encode(wire::ApiKey::kPing, ping(), {});
    store_le<std::uint32_t>(frame.data() + 4, length);
    client.send_bytes(frame);
    expect_closing(client, length < 1024 ? ErrorCode::kMalformedFrame : ErrorCode::kTooLarge,
                   "frame");
  }
}

TEST_P(ConnectionTest, AbsurdTableLengthsAreRefused) {
  RawClient client = connect();
  std::vector<std::byte> frame = client.encode(wire::ApiKey::kPing, ping(), {});
  store_le<std::uint32_t>(frame.data() + 24, 0xFFFFFFF0U);
  client.send_bytes(frame);
  expect_closing(client, ErrorCode::kMalformedFrame, "table");
}

TEST_P(ConnectionTest, LargeFramesAreTakenOnlyAfterTheHello) {
  RawClient client = connect();
  const TopicPartition id = make_partition("t");
  EXPECT_EQ(client.produce(id, make_large_batch(id, 200'000)), 0);
  RawClient stranger(broker_->port());
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreatePingRequest(to));
  stranger.send_bytes(stranger.encode(wire::ApiKey::kPing, to, std::vector<std::byte>(100'000)));
  expect_closing(stranger, ErrorCode::kTooLarge, "frame");
}

TEST_P(ConnectionTest, AWrongFrameChecksumIsNamedAndClosed) {
  RawClient client = connect();
  std::vector<std::byte> frame = client.encode(wire::ApiKey::kPing, ping(), {});
  frame[30] ^= std::byte{1};
  client.send_bytes(frame);
  expect_closing(client, ErrorCode::kChecksumMismatch, "checksum");
}

TEST_P(ConnectionTest, CorrelationZeroAndAnswersAreRefused) {
  RawClient client = connect();
  BufferPool pool(0);
  const SharedBytes zero = wire::encode_frame({.api = wire::ApiKey::kPing}, ping(), 0, pool);
  client.send_bytes(zero.bytes());
  expect_closing(client, ErrorCode::kMalformedFrame, "correlation id 0");
  RawClient other = connect();
  const SharedBytes answer = wire::encode_frame(
      {.api = wire::ApiKey::kPing, .correlation = 1, .flags = wire::kFrameAnswer}, ping(), 0, pool);
  other.send_bytes(answer.bytes());
  expect_closing(other, ErrorCode::kMalformedFrame, "flags");
}

TEST_P(ConnectionTest, FramesMayArriveInAnyPieces) {
  RawClient client = connect();
  const TopicPartition id = make_partition("t");
  // Pings, and a produce large enough for a buffer of its own, cut at random places.
  std::vector<std::byte> stream;
  const auto add = [&stream](const std::vector<std::byte>& frame) {
    stream.insert(stream.end(), frame.begin(), frame.end());
  };
  std::mt19937 random(42);
  int frames = 0;
  for (int i = 0; i < 40; ++i) {
    add(client.encode(wire::ApiKey::kPing, ping(), {}));
    flatbuffers::FlatBufferBuilder to;
    const std::vector<std::byte> batch = make_large_batch(id, 1 + random() % 60'000);
    const std::vector<fb::ProduceEntry> entries = {
        fb::ProduceEntry(uuid_of(id.topic), 0, static_cast<std::uint32_t>(batch.size()))};
    const auto listed = to.CreateVectorOfStructs(entries);
    to.Finish(fb::CreateProduceRequest(to, fb::Acks::All, 0, listed));
    add(client.encode(wire::ApiKey::kProduce, to, batch));
    frames += 2;
  }
  std::span<const std::byte> rest = stream;
  while (!rest.empty()) {
    const std::size_t bytes = std::min<std::size_t>(rest.size(), 1 + random() % 30'000);
    client.send_bytes(rest.first(bytes));
    rest = rest.subspan(bytes);
  }
  for (int i = 0; i < frames; ++i) {
    const std::optional<Answer> answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->code(), ErrorCode::kOk) << answer->message();
  }
  EXPECT_EQ(client.list_offset(id, -1).offset, 40);
}

TEST_P(ConnectionTest, RequestsSentTogetherWithTheHelloAreServed) {
  RawClient client(broker_->port());
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateHelloRequest(to, 0, 0, wire::kFrameBytesMax));
  std::vector<std::byte> both = client.encode(wire::ApiKey::kHello, to, {});
  flatbuffers::FlatBufferBuilder all;
  all.Finish(fb::CreateMetadataRequest(all));
  const std::vector<std::byte> second = client.encode(wire::ApiKey::kMetadata, all, {});
  both.insert(both.end(), second.begin(), second.end());
  client.send_bytes(both);
  EXPECT_EQ(client.receive(1).code(), ErrorCode::kOk);
  EXPECT_EQ(client.receive(2).code(), ErrorCode::kOk);
}

TEST_P(ConnectionTest, MoreRequestsThanMayBeInFlightWaitAndAreAllAnswered) {
  RawClient client = connect();
  const TopicPartition id = make_partition("t");
  const std::vector<std::byte> batch = make_batch(id, {"v"});
  constexpr int kRequests = 3 * static_cast<int>(wire::kRequestsInFlightMax);
  std::vector<std::uint64_t> sent;
  for (int i = 0; i < kRequests; ++i) sent.push_back(client.send_produce({{id, batch}}));
  for (int i = 0; i < kRequests; ++i) {
    const std::optional<Answer> answer = client.receive();
    ASSERT_TRUE(answer);
    const auto* result = answer->table<fb::ProduceAnswer>().results()->Get(0);
    EXPECT_EQ(code_of(result->status()), ErrorCode::kOk);
    // Requests to one partition are carried out in the order they were sent.
    EXPECT_EQ(result->base_offset(),
              static_cast<std::int64_t>(answer->prefix.correlation - sent.front()));
  }
}

TEST_P(ConnectionTest, AConnectionThatBreaksWhileItIsOverItsLimitsIsForgotten) {
  stop();
  limits_.unsent_bytes_max = 256 << 10;
  start();
  const TopicPartition id = make_partition("t");
  {
    RawClient producer = connect();
    for (int i = 0; i < 300; ++i) producer.produce(id, make_large_batch(id, 50'000));
    // Asks for more than the sockets hold, takes nothing of it and goes: its fetches are still
    // open, so that it would never count as idle.
    RawClient slow = connect();
    const std::uint64_t session = slow.fetch({.changed = {fetch_from(id, 300)}, .max_wait_ms = 0})
                                      .table<fb::FetchAnswer>()
                                      .session();
    slow.send_fetch({.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = 60'000});
    for (int i = 0; i < 100; ++i) slow.send_fetch({.session = session, .max_wait_ms = 60'000});
    slow.await_bytes();
  }
  wait_until([this] { return sum_of("tidelog_connections") == 0; });
}

// Four shards, too: placement must not depend on there being two.
class PlacementTest : public ConnectionTest {};

TEST_P(PlacementTest, AConnectionIsServedByTheShardItsHelloAsksFor) {
  const auto shards = static_cast<std::int32_t>(GetParam());
  const TopicId topic = make_topic("t", 2 * shards);
  RawClient asking = connect();
  const Answer metadata = asking.metadata({"t"});
  const auto* partitions = metadata.table<fb::MetadataAnswer>().topics()->Get(0)->partitions();
  std::vector<RawClient> clients;
  std::set<std::int32_t> used;
  for (const fb::PartitionMetadata* partition : *partitions) {
    const std::int32_t wanted = partition->shard();
    used.insert(wanted);
    RawClient& client = clients.emplace_back(broker_->port());
    const Answer hello = client.hello(wanted);
    ASSERT_EQ(hello.code(), ErrorCode::kOk) << hello.message();
    EXPECT_EQ(hello.table<fb::HelloAnswer>().shard(), wanted);
    EXPECT_EQ(hello.table<fb::HelloAnswer>().shard_count(), shards);
    const TopicPartition id{topic, PartitionIndex(partition->partition())};
    EXPECT_EQ(client.produce(id, make_batch(id, {"v"})), 0);
  }
  EXPECT_EQ(used.size(), static_cast<std::size_t>(shards)) << "a topic spreads over all shards";
  // The one that made the topic has gone; two on each shard stay, and the one that asked for none.
  wait_until([&] { return sum_of("tidelog_connections") <= clients.size() + 1; });
  for (std::int32_t shard = 0; shard < shards; ++shard) {
    EXPECT_GE(metric("tidelog_connections", shard), 2U);
  }
  EXPECT_EQ(sum_of("tidelog_connections"), clients.size() + 1);
  EXPECT_EQ(sum_of("tidelog_accepted_connections_total"), clients.size() + 2);
}

TEST_P(PlacementTest, WhatIsSentBehindTheHelloIsServedWhereTheConnectionGoes) {
  for (std::int32_t wanted = 0; wanted < GetParam(); ++wanted) {
    RawClient client(broker_->port());
    std::vector<std::byte> bytes = client.encode_hello(wanted);
    for (int i = 0; i < 20; ++i) {
      const std::vector<std::byte> frame = client.encode(wire::ApiKey::kPing, ping(), {});
      bytes.insert(bytes.end(), frame.begin(), frame.end());
    }
    // The last one arrives in two pieces.
    client.send_bytes(std::span(bytes).first(bytes.size() - 5));
    EXPECT_EQ(client.receive(1).table<fb::HelloAnswer>().shard(), wanted);
    client.send_bytes(std::span(bytes).last(5));
    for (std::uint64_t i = 2; i <= 21; ++i) EXPECT_EQ(client.receive(i).code(), ErrorCode::kOk);
  }
}

TEST_P(PlacementTest, AShardThatDoesNotExistIsNoneWanted) {
  RawClient client(broker_->port());
  const Answer hello = client.hello(1000);
  EXPECT_EQ(hello.code(), ErrorCode::kOk);
  EXPECT_LT(hello.table<fb::HelloAnswer>().shard(), GetParam());
  EXPECT_EQ(client.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(PlacementTest, AConnectionThatGoesWhileItMovesHarmsNobody) {
  for (int i = 0; i < 50; ++i) {
    RawClient client(broker_->port());
    client.send_bytes(client.encode_hello(i % GetParam()));
  }
  EXPECT_EQ(connect().call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
  wait_until([this] { return sum_of("tidelog_connections") == 0; });
}

class ImpatientBrokerTest : public ConnectionTest {
 protected:
  void SetUp() override {
    limits_.hello_timeout = std::chrono::milliseconds(200);
    limits_.frame_grace = std::chrono::milliseconds(200);
    limits_.idle_timeout = std::chrono::milliseconds(600);
    start();
  }
};

TEST_P(ImpatientBrokerTest, AConnectionWithoutHelloIsClosed) {
  RawClient client(broker_->port());
  expect_closing(client, ErrorCode::kTimedOut, "hello");
}

TEST_P(ImpatientBrokerTest, AFrameThatStopsArrivingIsClosed) {
  RawClient client = connect();
  const std::vector<std::byte> frame = client.encode(wire::ApiKey::kPing, ping(), {});
  client.send_bytes(std::span(frame).first(20));
  expect_closing(client, ErrorCode::kTimedOut, "frame");
}

TEST_P(ImpatientBrokerTest, AnIdleConnectionIsClosed) {
  RawClient client = connect();
  expect_closing(client, ErrorCode::kTimedOut, "nothing came");
}

TEST_P(ImpatientBrokerTest, AParkedFetchIsNotIdle) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 1500});
  EXPECT_EQ(answer.code(), ErrorCode::kOk) << "it waited longer than the idle time";
}

TIDELOG_WITH_SHARDS(ConnectionTest);
TIDELOG_WITH_SHARDS(ImpatientBrokerTest);
INSTANTIATE_TEST_SUITE_P(Shards, PlacementTest, ::testing::Values(1, 2, 4), shard_count_name);

}  // namespace
}  // namespace tidelog::broker
