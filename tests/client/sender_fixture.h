// A producer's core with a scripted broker on a simulated network, and what became of each record.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/producer/sender.h"
#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {

class ProducerWorld {
 public:
  static constexpr std::uint16_t kPort = 9700;

  explicit ProducerWorld(std::uint64_t seed, SenderOptions options = {},
                         AccumulatorOptions buffer = {});
  ~ProducerWorld();

  struct Outcome {
    std::string value;
    bool ok = false;
    std::int64_t offset = -1;
    std::int64_t timestamp_ms = -1;
    std::int32_t partition = -1;
    std::string error;  // name
    std::string message;
  };

  // True: accepted. The outcome comes to `outcomes` in the order of callbacks.
  bool produce(const std::string& topic, const std::string& value,
               std::optional<std::int32_t> partition = 0,
               std::optional<std::string> key = std::nullopt,
               std::optional<std::int64_t> timestamp_ms = std::nullopt);
  // Runs until all that was accepted is settled; false after `limit` of virtual time.
  bool settle(std::chrono::seconds limit = std::chrono::seconds(300));
  const Outcome* outcome(const std::string& value) const;
  // Values whose outcome is of this kind, in the order produced: "" acknowledged, else an error's
  // name.
  std::vector<std::string> values_with(const std::string& error) const;

  sim::SimExecutor executor;
  sim::SimNetwork network;
  sim::ScriptedBroker broker;
  BufferPool pool{1024 * 1024};
  Accumulator accumulator;
  std::unique_ptr<Sender> sender;
  std::vector<Outcome> outcomes;
  std::vector<std::string> produced;
  std::vector<std::string> log_lines;
  std::function<void(const std::string&)> on_log;
  std::size_t refused_by_full_buffer = 0;
};

// "a" is contained in "b" in the same order.
bool is_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b);

// What must hold of partition 0 whatever happened, where no other was written to: each record is
// settled once; what was acknowledged is at the offset told; what failed is not there; nothing is
// there that was not produced, or twice, or out of order.
void expect_honest(ProducerWorld& world, const std::string& topic = "t");

}  // namespace tidelog::client_core
