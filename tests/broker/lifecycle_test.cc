#include <gmock/gmock.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/broker/broker_fixture.h"

namespace tidelog::broker {
namespace {

using std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LifecycleTest : public BrokerTest {};

TEST_P(LifecycleTest, ARestartKeepsTopicsAndRecords) {
  const TopicId topic = make_topic("t", 4);
  {
    RawClient client = connect();
    for (std::int32_t i = 0; i < 4; ++i) {
      const TopicPartition id{topic, PartitionIndex(i)};
      client.produce(id, make_batch(id, {"one", "two"}));
    }
  }
  restart();
  RawClient client = connect();
  for (std::int32_t i = 0; i < 4; ++i) {
    const TopicPartition id{topic, PartitionIndex(i)};
    const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 15'000});
    EXPECT_THAT(values_of(id, answer.raw()), ElementsAre("one", "two"));
    EXPECT_EQ(client.produce(id, make_batch(id, {"three"})), 2);
  }
}

TEST_P(LifecycleTest, ARestartAfterACleanStopBeginsANewLeaderEpoch) {
  make_topic("t");
  const auto epoch = [this] {
    RawClient client = connect();
    const Answer answer = client.describe_topic("t");
    return answer.table<fb::DescribeTopicAnswer>().partitions()->Get(0)->leader_epoch();
  };
  const std::int32_t before = epoch();
  restart();
  EXPECT_EQ(epoch(), before + 1);
}

TEST_P(LifecycleTest, TheShardCountMayChangeBetweenStarts) {
  const TopicId topic = make_topic("t", 5);
  for (std::int32_t i = 0; i < 5; ++i) {
    const TopicPartition id{topic, PartitionIndex(i)};
    connect().produce(id, make_batch(id, {"v"}));
  }
  stop();
  BrokerSettings settings;
  settings.data_dir = directory_.path() + "/data";
  settings.broker_id = BrokerId(7);
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen.reset();
  settings.shards = 3 - GetParam();
  auto other = Broker::start(settings);
  ASSERT_TRUE(other) << other.error().to_string();
  EXPECT_EQ((*other)->admin_port(), 0);
  RawClient client((*other)->port());
  client.hello();
  for (std::int32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(client.list_offset({topic, PartitionIndex(i)}, -1).offset, 1);
  }
  EXPECT_TRUE((*other)->stop());
}

TEST_P(LifecycleTest, ASecondBrokerOnTheDirectoryIsRefused) {
  BrokerSettings settings;
  settings.data_dir = directory_.path() + "/data";
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen.reset();
  const auto second = Broker::start(settings);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kDirectoryInUse);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string(::getpid())));
  make_topic("still-served");
}

TEST_P(LifecycleTest, APortInUseIsNamedAndTheDirectoryStaysClean) {
  TemporaryDirectory other;
  BrokerSettings settings;
  settings.data_dir = other.path() + "/data";
  settings.shards = 1;  // shared ports are for the shards of one broker
  settings.listen = {"127.0.0.1", broker_->admin_port()};
  settings.admin_listen.reset();
  const auto refused = Broker::start(settings);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(refused.error().message(), HasSubstr(std::to_string(broker_->admin_port())));
  settings.listen.port = 0;
  const auto started = Broker::start(settings);
  ASSERT_TRUE(started) << started.error().to_string();
}

TEST_P(LifecycleTest, ANameWithoutAddressIsNamedAndTheDirectoryStaysClean) {
  TemporaryDirectory other;
  BrokerSettings settings;
  settings.data_dir = other.path() + "/data";
  settings.shards = GetParam();
  settings.listen = {"no such host", 0};
  settings.admin_listen.reset();
  const auto refused = Broker::start(settings);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(refused.error().message(), HasSubstr("'no such host' has no address"));
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen = HostPort{"no such host", 0};
  const auto without_pages = Broker::start(settings);
  ASSERT_FALSE(without_pages);
  EXPECT_THAT(without_pages.error().message(),
              AllOf(HasSubstr("admin"), HasSubstr("'no such host' has no address")));
  settings.admin_listen.reset();
  const auto started = Broker::start(settings);
  ASSERT_TRUE(started) << started.error().to_string();
}

// The kernel would spread connections over both.
TEST_P(LifecycleTest, ABrokerWhoseShardsShareAPortSharesItWithNoOtherBroker) {
  stop();
  TemporaryDirectory directories[2];
  BrokerSettings settings;
  settings.shards = 2;
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen.reset();
  settings.data_dir = directories[0].path() + "/data";
  const auto first = Broker::start(settings);
  ASSERT_TRUE(first) << first.error().to_string();
  settings.data_dir = directories[1].path() + "/data";
  settings.shards = GetParam();
  settings.listen.port = (*first)->port();
  const auto second = Broker::start(settings);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string((*first)->port())));
}

// A topic of one partition whose records are gone with their log.
class LostLogTest : public LifecycleTest {
 protected:
  void SetUp() override {
    LifecycleTest::SetUp();
    stop();
    // The catalog as it was before the topic: its log is in no list any more.
    const std::filesystem::path data = directory_.path() + "/data";
    const std::filesystem::path kept = directory_.path() + "/kept";
    std::filesystem::create_directory(kept);
    for (const auto* name : {"catalog.0", "catalog.1"}) {
      ASSERT_TRUE(std::filesystem::copy_file(data / name, kept / name));
    }
    start();
    lost_ = make_partition("t");
    connect().produce(lost_, make_batch(lost_, {"v"}));
    stop();
    for (const auto* name : {"catalog.0", "catalog.1"}) {
      std::filesystem::copy_file(kept / name, data / name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    start();
  }

  TopicPartition lost_;
};

TEST_P(LostLogTest, AReadyTopicWithoutItsLogSaysThatItsRecordsAreLost) {
  RawClient client = connect();
  const Answer answer = client.receive(client.send_produce({{lost_, make_batch(lost_, {"w"})}}));
  const auto* result = answer.table<fb::ProduceAnswer>().results()->Get(0);
  EXPECT_EQ(code_of(result->status()), ErrorCode::kLostData);
  EXPECT_THAT(message_of(result->status()), HasSubstr("topic 't', partition 0"));
  EXPECT_EQ(client.list_offset(lost_, -1).code, ErrorCode::kLostData);
}

TEST_P(LostLogTest, PartitionsThatAreAddedDoNotHideTheLoss) {
  const TopicPartition added{lost_.topic, PartitionIndex(1)};
  RawClient client = connect();
  const Answer grown = client.add_partitions("t", 2);
  ASSERT_EQ(grown.code(), ErrorCode::kOk) << grown.message();
  EXPECT_EQ(client.list_offset(lost_, -1).code, ErrorCode::kLostData);
  EXPECT_EQ(client.produce(added, make_batch(added, {"v"})), 0);
  restart();
  RawClient again = connect();
  EXPECT_EQ(again.list_offset(lost_, -1).code, ErrorCode::kLostData);
  EXPECT_EQ(again.list_offset(added, -1).offset, 1);
}

// Who watches a broker sees it recover, however long that takes.
// Metadata or logs are put aside and back: a start without one of them is refused however often it
// is tried, and changes nothing.
class PartMissingTest : public LifecycleTest {
 protected:
  void SetUp() override {
    LifecycleTest::SetUp();
    partition_ = make_partition("t");
    connect().produce(partition_, make_batch(partition_, {"v"}));
    stop();
  }

  void expect_refused(const std::vector<std::string>& names, const std::string& why) {
    const std::filesystem::path data = directory_.path() + "/data";
    const std::filesystem::path aside = directory_.path() + "/aside";
    std::filesystem::create_directory(aside);
    for (const std::string& name : names) std::filesystem::rename(data / name, aside / name);
    const std::set<std::string> left = names_in(data);
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto refused = Broker::start(settings(), limits_);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code(), ErrorCode::kCorruptData);
      EXPECT_THAT(refused.error().message(), HasSubstr(why));
    }
    EXPECT_EQ(names_in(data), left);
    for (const std::string& name : names) std::filesystem::rename(aside / name, data / name);
    start();
    EXPECT_EQ(connect().list_offset(partition_, -1).offset, 1);
  }

  std::set<std::string> names_in(const std::filesystem::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

  TopicPartition partition_;
};

TEST_P(PartMissingTest, WithoutMetadataNoStartTakesTheLogsForNobodys) {
  expect_refused({"metadata"}, "'" + directory_.path() + "/data/metadata' with their topics");
}

TEST_P(PartMissingTest, WithoutLogsNoStartMakesThemAnew) {
  std::vector<std::string> names;
  for (const std::string& name : names_in(directory_.path() + "/data")) {
    if (name != "metadata" && name != "lock") names.push_back(name);
  }
  expect_refused(names, "all their logs are missing");
}

TEST_P(LifecycleTest, TheAdminPagesAreThereBeforeTheDirectoryIsRead) {
  const std::uint16_t taken = broker_->port();
  TemporaryDirectory other;
  BrokerSettings settings;
  settings.data_dir = other.path() + "/data";
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen = HostPort{"127.0.0.1", taken};
  const auto refused = Broker::start(settings);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(refused.error().message(), HasSubstr("admin"));
  EXPECT_FALSE(std::filesystem::exists(settings.data_dir + "/metadata"));
}

TEST_P(LifecycleTest, AnotherBrokerIdOnTheDirectoryIsRefused) {
  stop();
  BrokerSettings settings;
  settings.data_dir = directory_.path() + "/data";
  settings.broker_id = BrokerId(8);
  settings.listen = {"127.0.0.1", 0};
  settings.admin_listen.reset();
  const auto refused = Broker::start(settings);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
}

TEST_P(LifecycleTest, StoppingWithOpenConnectionsIsQuickCleanAndSaidInANotice) {
  const TopicPartition id = make_partition("t");
  RawClient idle = connect();
  RawClient stranger(broker_->port());
  stranger.send_text("TI");  // half a magic
  RawClient consumer = connect();
  const std::uint64_t session =
      consumer.fetch({.changed = {fetch_from(id, 0)}}).table<fb::FetchAnswer>().session();
  const std::uint64_t parked = consumer.send_fetch({.session = session, .max_wait_ms = 60'000});
  RawClient producer = connect();
  producer.produce(id, make_batch(id, {"v"}));
  const std::uint64_t again = producer.send_produce({{id, make_batch(id, {"w"})}});
  producer.receive(again);
  consumer.receive(parked);
  const std::uint64_t waiting = consumer.send_fetch({.session = session, .max_wait_ms = 60'000});

  const auto begin = steady_clock::now();
  const Result<> stopped = broker_->stop();
  EXPECT_TRUE(stopped) << stopped.error().to_string();
  EXPECT_LT(steady_clock::now() - begin, kStopDeadline);
  broker_.reset();

  const std::optional<Answer> notice = idle.receive();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->table<fb::Notice>().kind(), fb::NoticeKind::Draining);
  EXPECT_EQ(code_of(notice->table<fb::Notice>().status()), ErrorCode::kDraining);
  EXPECT_TRUE(idle.closes());
  bool answered = false;
  while (const std::optional<Answer> answer = consumer.receive()) {
    answered = answered || answer->prefix.correlation == waiting;
  }
  EXPECT_TRUE(answered) << "a parked fetch is answered before the close";
  start();
  RawClient client = connect();
  EXPECT_EQ(client.list_offset(id, -1).offset, 2);
}

TEST_P(LifecycleTest, WhileTheBrokerStopsAcksNoneIsStillNotAnswered) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  for (int i = 0; i < 200; ++i) client.produce(id, make_large_batch(id, 50'000));
  // The broker goes on stopping for as long as this one does not take its 8 MB.
  RawClient slow = connect();
  slow.send_fetch({.changed = {fetch_from(id, 0)}, .min_bytes = 7'000'000, .max_wait_ms = 15'000});
  slow.await_bytes();
  std::thread stopper([this] { EXPECT_TRUE(broker_->stop()); });
  const std::optional<Answer> notice = client.receive();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->prefix.correlation, 0U);
  client.send_produce({{id, make_batch(id, {"v"})}}, fb::Acks::None);
  const std::uint64_t refused = client.send_produce({{id, make_batch(id, {"v"})}});
  const std::optional<Answer> answer = client.receive();
  slow.close();
  stopper.join();
  broker_.reset();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->prefix.correlation, refused) << "nothing came for the one before";
  EXPECT_EQ(answer->code(), ErrorCode::kDraining);
}

TEST_P(LifecycleTest, AStopThatDoesNotWaitWhileProducersWaitForMemoryEnds) {
  stop();
  produce_memory_bytes_ = 256 << 10;
  for (int round = 0; round < 5; ++round) {
    start();
    const TopicId topic = make_topic(std::to_string(round), 4);
    std::vector<RawClient> clients;
    for (int c = 0; c < 8; ++c) {
      RawClient& client = clients.emplace_back(connect());
      for (std::int32_t i = 0; i < 8; ++i) {
        const TopicPartition id{topic, PartitionIndex(i % 4)};
        client.send_produce({{id, make_large_batch(id, 40'000)}});
      }
    }
    // Clean or not: what is held must not be given back to shards that are gone.
    (void)broker_->stop(std::chrono::milliseconds(1));
    broker_.reset();
  }
  start();
}

// Produces to four partitions until the broker says no, stops it within `deadline` meanwhile, and
// starts it again.
class StopUnderLoadTest : public LifecycleTest {
 protected:
  Result<> stop_under_load(std::chrono::milliseconds deadline, std::size_t value_bytes) {
    const TopicId topic = make_topic("t", 4);
    std::vector<std::int64_t> acknowledged(4, 0);
    std::vector<std::thread> producers;
    for (std::int32_t p = 0; p < 4; ++p) {
      producers.emplace_back(
          [=, this, &acknowledged, id = TopicPartition{topic, PartitionIndex(p)}] {
            RawClient client = connect();
            const std::vector<std::byte> batch = make_batch(id, {std::string(value_bytes, 'v')});
            for (;;) {
              client.send_produce({{id, batch}});
              const std::optional<Answer> answer = client.receive();
              if (!answer) return;
              if (answer->prefix.correlation == 0) continue;  // draining
              if (answer->code() != ErrorCode::kOk) return;
              const auto* result = answer->table<fb::ProduceAnswer>().results()->Get(0);
              if (code_of(result->status()) != ErrorCode::kOk) return;
              acknowledged[static_cast<std::size_t>(p)] = result->base_offset() + 1;
            }
          });
    }
    RawClient watcher = connect();
    while (watcher.list_offset({topic, PartitionIndex(0)}, -1).offset < 100) {
    }
    Result<> stopped = broker_->stop(deadline);
    broker_.reset();
    for (std::thread& producer : producers) producer.join();
    start();
    RawClient client = connect();
    for (std::int32_t p = 0; p < 4; ++p) {
      EXPECT_GE(client.list_offset({topic, PartitionIndex(p)}, -1).offset,
                acknowledged[static_cast<std::size_t>(p)]);
    }
    return stopped;
  }
};

TEST_P(StopUnderLoadTest, AcknowledgedRecordsSurviveIt) {
  const Result<> stopped = stop_under_load(std::chrono::seconds(120), 1);
  EXPECT_TRUE(stopped) << stopped.error().to_string();
}

// Writes, syncs and file jobs are under way when the logs go.
TEST_P(StopUnderLoadTest, AcknowledgedRecordsSurviveOneWithoutTime) {
  EXPECT_FALSE(stop_under_load(std::chrono::milliseconds(0), 30'000));
}

// Deadlines, budgets and counters are kept without looking at them all the time.
TEST_P(LifecycleTest, ABrokerThatNobodyUsesSleeps) {
  const TopicPartition id = make_partition("t");
  RawClient idle = connect();
  RawClient consumer = connect();
  consumer.send_fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 60'000});
  const auto turns = [this] { return sum_of("tidelog_loop_turns_total"); };
  std::uint64_t before = turns();
  auto began = steady_clock::now();
  const auto give_up = began + std::chrono::seconds(30);
  // What was under way ends at some time; from then on there are but the rare timers of the logs.
  while (steady_clock::now() - began < std::chrono::seconds(1)) {
    ASSERT_LT(steady_clock::now(), give_up) << "its shards never sleep";
    if (turns() - before <= 6U * static_cast<std::uint64_t>(GetParam())) continue;
    before = turns();
    began = steady_clock::now();
  }
}

TEST_P(LifecycleTest, RunUntilStoppedReturnsAfterARequest) {
  std::thread asker([this] { broker_->request_stop(); });
  const Result<> ended = broker_->run_until_stopped();
  EXPECT_TRUE(ended) << ended.error().to_string();
  asker.join();
  EXPECT_TRUE(broker_->stop()) << "safe to call again";
}

TIDELOG_WITH_SHARDS(LifecycleTest);
TIDELOG_WITH_SHARDS(LostLogTest);
TIDELOG_WITH_SHARDS(PartMissingTest);
TIDELOG_WITH_SHARDS(StopUnderLoadTest);

}  // namespace
}  // namespace tidelog::broker
