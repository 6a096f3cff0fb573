// A consumer's core with a scripted broker on a simulated network, and what a program would poll.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/consumer/fetcher.h"
#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {

class ConsumerWorld {
 public:
  static constexpr std::uint16_t kPort = 9700;

  // The broker's address comes before what `options` has.
  explicit ConsumerWorld(std::uint64_t seed, FetcherOptions options = {});
  ~ConsumerWorld();

  // Each runs until it is done, or fails after two minutes of virtual time.
  Result<> assign(std::vector<client::Assignment> assignments);
  Result<> seek(const std::string& topic, std::int32_t partition, client::Position position);
  Result<ResolvedOffset> resolve(const std::string& topic, client::Position position);

  // Takes what is there, as poll() would: values to `values`, errors to `errors`.
  void take();
  // Until `count` values came, or virtual time ran out.
  bool take_until(std::size_t count, std::chrono::seconds limit = std::chrono::seconds(60));
  bool take_error(std::chrono::seconds limit = std::chrono::seconds(60));

  sim::SimExecutor executor;
  sim::SimNetwork network;
  sim::ScriptedBroker broker;
  std::shared_ptr<BufferPool> pool = std::make_shared<BufferPool>(1024 * 1024);
  PrefetchQueue queue;
  std::vector<std::string> log_lines;
  std::unique_ptr<Fetcher> fetcher;
  std::vector<std::string> values;
  std::vector<std::int64_t> offsets;
  std::vector<client::PartitionError> errors;
};

// "from" to "to - 1", in decimal.
std::vector<std::string> numbers(int from, int to);

}  // namespace tidelog::client_core
