// A request in flight, as its handler holds it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer_pool.h"
#include "base/clock.h"
#include "base/result.h"
#include "broker/budgets.h"
#include "wire/frame.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace tidelog::broker {

// Requests that are no produce take from the control budget above this size; smaller ones always
// pass, so that large ones cannot hold up the rest.
inline constexpr std::size_t kSmallRequestBytesMax = 64 << 10;

// What an answer must name.
struct RequestHead {
  wire::ApiKey api = wire::ApiKey::kNotice;
  std::uint16_t version = 1;
  std::uint64_t correlation = 0;
};

class ClientConnection;

// A request in flight: the right and the duty to answer it. When it is destroyed the request counts
// as settled, answered or not. Thread: the connection's shard.
class RequestTicket {
 public:
  RequestTicket() = default;
  RequestTicket(std::shared_ptr<ClientConnection> connection, RequestHead head, std::size_t bytes,
                BudgetHold hold);
  RequestTicket(RequestTicket&&) = default;
  RequestTicket& operator=(RequestTicket&& other) noexcept;
  ~RequestTicket() { settle(); }

  explicit operator bool() const { return connection_ != nullptr; }
  ClientConnection& connection() const { return *connection_; }
  const RequestHead& head() const { return head_; }
  // Counts memory that the request takes beside its frame, until it settles. Fails with
  // kOverloaded: there is none left for so much.
  Result<> reserve(std::size_t bytes);

  // Sends an answer; `more` says that further parts follow. `table` is finished. The raw bytes are
  // the `pieces`, which hold `holds` until the peer has taken them.
  void answer(const flatbuffers::FlatBufferBuilder& table, bool more = false) const;
  void answer(const flatbuffers::FlatBufferBuilder& table, std::vector<SharedBytes> pieces,
              std::vector<BudgetHold> holds) const;
  // Answers with `error` in the field every answer begins with.
  void fail(const Error& error) const;

 private:
  void settle();
  std::shared_ptr<ClientConnection> connection_;
  RequestHead head_;
  std::size_t bytes_ = 0;
  SteadyTime received_at_;
  BudgetHold hold_;
};

}  // namespace tidelog::broker
