#include "tests/client/sender_fixture.h"

#include <algorithm>
#include <set>

namespace tidelog::client_core {

ProducerWorld::ProducerWorld(std::uint64_t seed, SenderOptions options, AccumulatorOptions buffer)
    : executor(seed),
      network(executor, seed * 31 + 1),
      broker(executor, network, kPort),
      accumulator(executor.clock(), buffer) {
  options.pool.seeds = {{"sim", kPort}};
  options.pool.log = [this](const std::string& line) {
    log_lines.push_back(line);
    if (on_log) on_log(line);
  };
  sender = std::make_unique<Sender>(network, executor, pool, accumulator, options, seed * 17 + 3);
  accumulator.on_work([this] {
    executor.post([this] {
      if (sender) sender->pump();
    });
  });
}

ProducerWorld::~ProducerWorld() {
  sender->abandon();
  sender.reset();
  broker.stop();
  executor.run_for(std::chrono::seconds(1));  // what was posted last owns connections
}

bool ProducerWorld::produce(const std::string& topic, const std::string& value,
                            std::optional<std::int32_t> partition, std::optional<std::string> key,
                            std::optional<std::int64_t> timestamp_ms) {
  client::Record record;
  record.topic = topic;
  record.value = value;
  record.partition = partition;
  record.key = std::move(key);
  record.timestamp_ms = timestamp_ms;
  RecordCallback callback = [this, value](const client::Result<client::Delivery>& delivery) {
    Outcome outcome;
    outcome.value = value;
    outcome.ok = delivery.ok();
    if (delivery.ok()) {
      outcome.offset = delivery->offset;
      outcome.timestamp_ms = delivery->timestamp_ms;
      outcome.partition = delivery->partition;
    } else {
      outcome.error = delivery.error().name;
      outcome.message = delivery.error().message;
    }
    outcomes.push_back(std::move(outcome));
  };
  const Result<bool> added = accumulator.add(record, callback);
  if (!added) {
    callback(client::Error{.name = std::string(added.error().info().name),
                           .message = added.error().message()});
    return true;
  }
  if (!*added) {
    ++refused_by_full_buffer;
    return false;
  }
  produced.push_back(value);
  return true;
}

bool ProducerWorld::settle(std::chrono::seconds limit) {
  const std::uint64_t epoch = accumulator.begin_flush();
  return executor.run_until([&] { return accumulator.flushed(epoch); }, limit);
}

const ProducerWorld::Outcome* ProducerWorld::outcome(const std::string& value) const {
  const auto at = std::ranges::find(outcomes, value, &Outcome::value);
  return at != outcomes.end() ? &*at : nullptr;
}

std::vector<std::string> ProducerWorld::values_with(const std::string& error) const {
  std::vector<std::string> values;
  for (const std::string& value : produced) {
    const Outcome* found = outcome(value);
    if (found != nullptr && found->error == error) values.push_back(value);
  }
  return values;
}

bool is_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  auto at = b.begin();
  for (const std::string& value : a) {
    at = std::find(at, b.end(), value);
    if (at == b.end()) return false;
    ++at;
  }
  return true;
}

void expect_honest(ProducerWorld& world, const std::string& topic) {
  const std::vector<std::string> log = world.broker.log(topic, 0).values();
  EXPECT_EQ(world.outcomes.size(), world.produced.size());
  const std::set<std::string> unique(log.begin(), log.end());
  EXPECT_EQ(unique.size(), log.size()) << "a record is in the log twice";
  EXPECT_TRUE(is_subsequence(log, world.produced)) << "the log is out of order";
  EXPECT_TRUE(is_subsequence(world.values_with(""), log)) << "an acknowledged record is missing";
  for (const auto& outcome : world.outcomes) {
    if (outcome.ok) {
      ASSERT_GE(outcome.offset, 0);
      ASSERT_LT(outcome.offset, static_cast<std::int64_t>(log.size()));
      EXPECT_EQ(log[static_cast<std::size_t>(outcome.offset)], outcome.value);
    } else if (outcome.error != "UNKNOWN_OUTCOME") {
      EXPECT_FALSE(unique.contains(outcome.value))
          << outcome.value << " is in the log, but was reported as " << outcome.error;
    }
  }
}

}  // namespace tidelog::client_core
