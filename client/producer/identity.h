// The id by which brokers recognise what a producer sends again: asked for once, and anew only when
// the old one is used up.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/ids.h"
#include "client/inquiry.h"

namespace tidelog::client_core {

class Identity {
 public:
  // `executor` and `pool` must outlive this.
  Identity(Executor& executor, BrokerPool& pool, Inquiry::Options options, std::uint64_t seed);
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
  const std::optional<Error>& trouble() const { return inquiry_.trouble(); }

  // Goes on with what waits for a connection. Call when the pool changed.
  void advance() { inquiry_.advance(); }

 private:
  Result<> take(const SharedBytes& table);

  Inquiry inquiry_;
  std::function<void()> arrived_;
  std::optional<ProducerId> id_;
};

}  // namespace tidelog::client_core
