// A question that any broker can answer, asked until one has: one request at a time however many
// want the answer, and after a failure again, with backoff.
//
// Thread: its executor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client/backoff.h"
#include "client/broker_pool.h"

namespace tidelog::client_core {

class Inquiry {
 public:
  struct Options {
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds backoff_min{50};
    std::chrono::milliseconds backoff_max{2000};
    // Least time from one request to the next.
    std::chrono::milliseconds interval_min{0};
  };
  // The table to send now; nullopt: nothing is to be asked any more.
  using Compose = std::function<std::optional<Table>()>;
  // Takes an answer's table. An error: it is none, ask again. May call ask().
  using Take = std::function<Result<>(const SharedBytes&)>;

  // `executor` and `pool` must outlive this. `missing`: "no metadata", for messages.
  Inquiry(Executor& executor, BrokerPool& pool, wire::ApiKey api, std::string missing,
          Options options, std::uint64_t seed);
  ~Inquiry();
  Inquiry(const Inquiry&) = delete;
  Inquiry& operator=(const Inquiry&) = delete;

  // Set once, before ask().
  void on_turn(Compose compose, Take take) {
    compose_ = std::move(compose);
    take_ = std::move(take);
  }

  // Asks, as soon as it can; one that is under way goes on, and another follows it.
  void ask();
  // Goes on with what waits for a connection. Call when the pool changed.
  void advance();

  bool is_under_way() const { return under_way_; }
  // Why there is no answer yet; nullopt since the last one.
  const std::optional<Error>& trouble() const { return trouble_; }

 private:
  void answered(const std::expected<Answer, CallFailure>& answer);
  void failed(const Error& error);
  void wait(std::chrono::microseconds time);

  Executor& executor_;
  BrokerPool& pool_;
  const wire::ApiKey api_;
  const std::string missing_;
  const Options options_;
  Backoff backoff_;
  Compose compose_;
  Take take_;
  std::optional<Error> trouble_;
  std::optional<SteadyTime> last_sent_;
  bool wanted_ = false;
  bool under_way_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace tidelog::client_core
