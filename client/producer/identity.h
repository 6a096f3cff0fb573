// The id by which brokers recognise what a producer sends again: asked for once, and anew only when
// the old one is used up.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/ids.h"
#include "client/backoff.h"
#include "client/broker_pool.h"

namespace tidelog::client_core {

class Identity {
 public:
  struct Options {
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds backoff_min{50};
    std::chrono::milliseconds backoff_max{2000};
  };
  // `executor` and `pool` must outlive this.
  Identity(Executor& executor, BrokerPool& pool, Options options, std::uint64_t seed);
  ~Identity();
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  // Called when there is an id.
  void on_arrival(std::function<void()> arrived) { arrived_ = std::move(arrived); }

  // Nullopt while there is none; then want() gets one.
  std::optional<ProducerId> id() const { return id_; }
  // Asks for one unless there is one, or it is on its way.
  void want();
  // This one is used up: it is not given by id() any more.
  void retire(ProducerId used);
  // Why there is none yet.
  const std::optional<Error>& trouble() const { return trouble_; }

  // Goes on with what waits for a connection. Call when the pool changed.
  void advance();

 private:
  void answered(const std::expected<Answer, CallFailure>& answer);
  void failed(const Error& error);

  Executor& executor_;
  BrokerPool& pool_;
  const Options options_;
  Backoff backoff_;
  std::function<void()> arrived_;
  std::optional<ProducerId> id_;
  std::optional<Error> trouble_;
  bool wanted_ = false;
  bool in_flight_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace tidelog::client_core
