// Everything at once, for races: a broker that starts, stops cleanly and hastily, and changes its
// shards, while threads produce, consume, make, alter, trim and delete topics. Made for
// ThreadSanitizer and AddressSanitizer; what was acknowledged for the one topic that stays is
// judged by the checker of histories, too.
//
//   broker_stress                           what CI runs
//   broker_stress --seconds N --seed S      N seconds, and other dice
#include <fmt/core.h>
#include <gmock/gmock.h>

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "base/logging.h"
#include "base/random.h"
#include "tests/history/history.h"
#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using namespace std::chrono_literals;
using client::Position;

std::uint64_t seconds = 4;
std::uint64_t first_seed = 1;

constexpr std::int32_t kKeptPartitions = 3;
// The checker remembers each record.
constexpr int kKeptRecordsMax = 150'000;
constexpr int kPassingTopics = 4;
// A life is one start to one stop; fewer would show no restart.
constexpr int kLivesMin = 3;

class BrokerStressTest : public ClientBrokerTest {
 protected:
  // What happened; a run in which some of it never did proves nothing.
  struct Counts {
    std::atomic<int> kept{0};
    std::atomic<int> kept_read{0};
    std::atomic<int> passing{0};
    std::atomic<int> passing_read{0};
    std::atomic<int> created{0};
    std::atomic<int> deleted{0};
    std::atomic<int> changed{0};
  };

  // Restarts take as long as the machine is slow: nobody gives up meanwhile.
  client::ProducerOptions patient_producer(SeededRandom& dice) const {
    client::ProducerOptions options{.connect = connect_};
    options.linger = std::chrono::milliseconds(dice.below(3));
    options.batch_bytes_max = 500 + dice.below(8000);
    options.compression = static_cast<client::Compression>(dice.below(5));
    options.delivery_timeout = 1h;
    return options;
  }
  client::ConnectOptions impatient() const {
    client::ConnectOptions options = connect_;
    options.request_timeout = 2s;
    options.connect_timeout = 2s;
    return options;
  }

  void live(SeededRandom& dice);
  void keep_producing(int number);
  void keep_reading(std::uint64_t seed);
  void pass(std::uint64_t seed);
  void administer(std::uint64_t seed);
  void produce_passing(const std::string& topic, SeededRandom& dice);
  void consume_passing(const std::string& topic, SeededRandom& dice);
  void administer_once(client::Admin& admin, SeededRandom& dice);
  void check_kept();

  // What was told of the topic that stays.
  template <typename Told>
  void tell(Told told) {
    const std::lock_guard lock(mutex_);
    told(checker_);
  }
  static std::string kept_name(std::int32_t partition) { return fmt::format("kept-{}", partition); }
  static std::string passing_name(SeededRandom& dice) {
    return fmt::format("passing{}", dice.below(kPassingTopics));
  }

  Counts counts_;
  client::ConnectOptions connect_;  // of all lives: written before there are threads
  std::atomic<bool> is_over_{false};
  std::atomic<bool> is_kept_complete_{false};

 private:
  std::mutex mutex_;
  history::Checker checker_;
};

// Records whose fate is told to the checker, through one producer that outlives all restarts.
void BrokerStressTest::keep_producing(int number) {
  SeededRandom dice(first_seed * 100 + static_cast<std::uint64_t>(number));
  client::Producer producer(patient_producer(dice));
  const std::string name = fmt::format("keeper {}", number);
  for (int i = 0; i < kKeptRecordsMax && !is_over_.load(); ++i) {
    const auto partition = static_cast<std::int32_t>(dice.below(kKeptPartitions));
    const std::string value = fmt::format("{}-{}", number, i);
    tell([&](history::Checker& checker) { ASSERT_TRUE(checker.send(name, value)); });
    producer.produce(
        {.topic = "kept", .value = value, .partition = partition},
        [this, value, partition](const client::Result<client::Delivery>& delivery) {
          ASSERT_TRUE(delivery.ok()) << delivery.error().to_string();
          ++counts_.kept;
          if (delivery->offset < 0) return;  // acknowledged, its place forgotten
          tell([&](history::Checker& checker) {
            ASSERT_TRUE(checker.acknowledged(kept_name(partition), delivery->offset, value));
          });
        });
    if (dice.below(30) == 0) EXPECT_TRUE(producer.flush(1h));
  }
  EXPECT_TRUE(producer.close(1h));
}

// Reads the topic that stays; now and then with another consumer, which goes on where the last one
// was. Ends when everything has been read.
void BrokerStressTest::keep_reading(std::uint64_t seed) {
  SeededRandom dice(seed);
  std::array<std::int64_t, kKeptPartitions> positions{};
  for (int stint = 0; !is_kept_complete_.load() || counts_.kept_read < counts_.kept; ++stint) {
    client::Consumer consumer({.connect = connect_, .prefetch_bytes_max = 1 << 16});
    const std::string name = fmt::format("reader {}", stint);
    std::vector<client::Assignment> assignments;
    for (std::int32_t i = 0; i < kKeptPartitions; ++i) {
      const std::int64_t position = positions[static_cast<std::size_t>(i)];
      assignments.push_back({"kept", i, Position::offset(position)});
      tell([&](history::Checker& checker) { checker.assign(name, kept_name(i), position); });
    }
    if (!consumer.assign(assignments).ok()) continue;  // between two lives for longer than it waits
    const std::uint64_t polls = 5 + dice.below(100);
    for (std::uint64_t i = 0; i < polls; ++i) {
      const client::ConsumedRecords polled = consumer.poll(50ms, 1 + dice.below(500));
      for (const auto& error : polled.errors) ADD_FAILURE() << error.error.to_string();
      for (const client::ConsumedRecord& record : polled.records) {
        positions[static_cast<std::size_t>(record.partition)] = record.offset + 1;
        ++counts_.kept_read;
        tell([&](history::Checker& checker) {
          checker.polled(name, kept_name(record.partition), record.offset,
                         std::string(record.value.value_or("")));
        });
      }
      if (!polled.errors.empty()) return;
    }
  }
}

void BrokerStressTest::produce_passing(const std::string& topic, SeededRandom& dice) {
  client::ProducerOptions options = patient_producer(dice);
  options.connect = impatient();
  options.delivery_timeout = std::chrono::milliseconds(50 + dice.below(1000));
  options.acks = static_cast<client::Acks>(dice.below(3));
  options.idempotent = dice.below(3) != 0;
  client::Producer producer(std::move(options));
  const std::uint64_t records = dice.below(100);
  for (std::uint64_t i = 0; i < records; ++i) {
    producer.produce({.topic = topic, .value = topic + std::string(dice.below(200), '.')},
                     [this](const client::Result<client::Delivery>& delivery) {
                       if (delivery.ok()) ++counts_.passing;
                     });
  }
  // Otherwise the destructor ends what is on its way.
  if (dice.below(2) == 0) producer.close(std::chrono::milliseconds(dice.below(500)));
}

void BrokerStressTest::consume_passing(const std::string& topic, SeededRandom& dice) {
  client::Consumer consumer({.connect = impatient()});
  const Position from = dice.below(2) == 0 ? Position::start() : Position::end(20);
  if (!consumer.assign({{topic, 0, from}, {topic, 1, from}}).ok()) return;
  for (std::uint64_t i = dice.below(10); i > 0; --i) {
    const client::ConsumedRecords polled = consumer.poll(std::chrono::milliseconds(dice.below(50)));
    for (const client::ConsumedRecord& record : polled.records) {
      EXPECT_TRUE(record.value.value_or("").starts_with(topic)) << topic << " holds another's";
      ++counts_.passing_read;
    }
    // What they answer depends on whether the topic is still there.
    const auto partition = static_cast<std::int32_t>(dice.below(2));
    switch (dice.below(5)) {
      case 0:
        (void)consumer.pause(topic, partition);
        (void)consumer.resume(topic, partition);
        break;
      case 1:
        (void)consumer.seek(topic, partition, Position::start());
        break;
      case 2:
        (void)consumer.lag(topic, partition);
        break;
      case 3:
        (void)consumer.resolve(topic, partition, Position::time(1));
        break;
      default:
        break;
    }
  }
  if (dice.below(2) == 0) consumer.close(0ms);
}

void BrokerStressTest::pass(std::uint64_t seed) {
  SeededRandom dice(seed);
  while (!is_over_.load()) {
    const std::string topic = passing_name(dice);
    if (dice.below(2) == 0) {
      produce_passing(topic, dice);
    } else {
      consume_passing(topic, dice);
    }
  }
}

void BrokerStressTest::administer_once(client::Admin& admin, SeededRandom& dice) {
  const std::string topic = passing_name(dice);
  client::Status done = client::Nothing{};
  switch (dice.below(8)) {
    case 0:
    case 1:
    case 2:
      done = admin.create_topic({.name = topic,
                                 .partitions = 2 + static_cast<std::int32_t>(dice.below(4)),
                                 .settings = {{"segment.bytes", "65536"}}});
      counts_.created += done.ok() ? 1 : 0;
      break;
    case 3:
      done = admin.delete_topic(topic);
      counts_.deleted += done.ok() ? 1 : 0;
      break;
    case 4:
      done = admin.alter_topic(topic, {.settings = {{"retention.bytes", "100000"}}});
      counts_.changed += done.ok() ? 1 : 0;
      break;
    case 5:
      done = admin.add_partitions(topic, 6);
      break;
    case 6:
      if (const auto trimmed = admin.delete_records(topic, {{0, -1}}); !trimmed.ok()) {
        done = trimmed.error();
      }
      break;
    default:
      if (const auto listed = admin.list_topics(); !listed.ok()) {
        done = listed.error();
      } else if (const auto described = admin.describe_topic(topic); !described.ok()) {
        done = described.error();
      }
      break;
  }
  if (done.ok()) return;
  // Others do the same at once, and the broker comes and goes.
  static const std::set<std::string> expected = {
      "TOPIC_EXISTS",      "UNKNOWN_TOPIC", "INVALID_PARTITIONS", "CONNECTION_FAILED",
      "CONNECTION_CLOSED", "TIMED_OUT",     "DRAINING",           "CONFLICT"};
  EXPECT_TRUE(expected.contains(done.error().name)) << done.error().to_string();
}

void BrokerStressTest::administer(std::uint64_t seed) {
  SeededRandom dice(seed);
  while (!is_over_.load()) {
    client::Admin admin(impatient());
    for (std::uint64_t i = 1 + dice.below(30); i > 0 && !is_over_.load(); --i) {
      administer_once(admin, dice);
    }
  }
}

// One life of the broker, and its end: clean, or hasty, which is a crash for the next start.
void BrokerStressTest::live(SeededRandom& dice) {
  std::this_thread::sleep_for(std::chrono::milliseconds(100 + dice.below(700)));
  if (dice.below(3) == 0) {
    (void)broker_->stop(0ms);
    broker_.reset();
  } else {
    stop_broker();
  }
  shards_ = 1 + static_cast<int>(dice.below(3));
  start_broker();
}

void BrokerStressTest::check_kept() {
  client::Admin admin(connect());
  const auto kept = admin.describe_topic("kept");
  ASSERT_TRUE(kept.ok()) << kept.error().to_string();
  tell([&](history::Checker& checker) {
    for (const client::PartitionDescription& one : kept->partitions) {
      EXPECT_EQ(one.problem, "");
      checker.ended(kept_name(one.partition), one.high_watermark);
    }
    for (const history::Complaint& complaint : checker.complaints()) {
      ADD_FAILURE() << complaint.to_string();
    }
  });
}

TEST_F(BrokerStressTest, RestartsUnderLoadWhileTopicsComeAndGoLoseNothing) {
  connect_ = connect();
  client::Admin admin(connect_);
  ASSERT_TRUE(admin
                  .create_topic({.name = "kept",
                                 .partitions = kKeptPartitions,
                                 .settings = {{"segment.bytes", "65536"}}})
                  .ok());
  SeededRandom dice(first_seed);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  int lives = 1;
  {
    std::jthread reader([this] { keep_reading(first_seed * 100 + 10); });
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 2; ++i) {
        const std::uint64_t seed = first_seed * 100 + 20 + static_cast<std::uint64_t>(i);
        threads.emplace_back([this, i] { keep_producing(i); });
        threads.emplace_back([this, seed] { pass(seed); });
        threads.emplace_back([this, seed] { administer(seed + 10); });
      }
      while (!HasFatalFailure() && broker_ != nullptr &&
             (lives < kLivesMin || std::chrono::steady_clock::now() < until)) {
        live(dice);
        ++lives;
      }
      is_over_ = true;
    }
    is_kept_complete_ = true;
  }
  ASSERT_NE(broker_, nullptr);
  check_kept();
  fmt::print(
      "{} lives; kept: {} written, {} read; passing: {} written, {} read; topics: {} made, "
      "{} deleted, {} altered\n",
      lives, counts_.kept.load(), counts_.kept_read.load(), counts_.passing.load(),
      counts_.passing_read.load(), counts_.created.load(), counts_.deleted.load(),
      counts_.changed.load());
  EXPECT_GT(counts_.kept.load(), 0);
  if (seconds < 30) return;
  // So long a run has all of it, on any machine.
  EXPECT_GT(counts_.passing.load(), 0);
  EXPECT_GT(counts_.passing_read.load(), 0);
  EXPECT_GT(counts_.created.load(), 0);
  EXPECT_GT(counts_.deleted.load(), 0);
  EXPECT_GT(counts_.changed.load(), 0);
}

bool take_number(const char* text, std::uint64_t& number) {
  const char* end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, number);
  return read.ec == std::errc() && read.ptr == end;
}

}  // namespace
}  // namespace tidelog

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    std::uint64_t* number = flag == "--seconds" ? &tidelog::seconds
                            : flag == "--seed"  ? &tidelog::first_seed
                                                : nullptr;
    if (number == nullptr || i + 1 == argc || !tidelog::take_number(argv[i + 1], *number)) {
      fmt::print(stderr, "usage: {} [--seconds N] [--seed S]\n", argv[0]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
