// One client's connection: reads frames within the limits, hands them to their handlers, sends
// answers.
//
// Limits: frames of at most 64 KiB until the hello is answered, which must come within 10 s; then
// the limits named in the hello. A frame that has begun must go on at 64 KiB/s. The connection
// stops reading while too many requests or bytes are in flight, while the produce budget is used
// up, or while its peer does not take what was sent. A stream that cannot be followed any more
// (wrong magic, wrong checksum, absurd length) is closed with a notice that says what was seen.
//
// Order: frames are handed over in the order they came, so that requests to one partition are
// carried out in order; answers may overtake one another.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "broker/budgets.h"
#include "broker/frame_reader.h"
#include "broker/session.h"
#include "wire/limits.h"
#include "wire/transport/transport.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace tidelog::broker {

class Shard;

// What a connection may take; tests make it small.
struct ConnectionLimits {
  std::size_t frame_bytes_max = wire::kFrameBytesMax;
  std::uint32_t requests_in_flight_max = wire::kRequestsInFlightMax;
  std::size_t bytes_in_flight_max = wire::kBytesInFlightMax;
  std::chrono::milliseconds hello_timeout = wire::kHelloTimeout;
  std::chrono::milliseconds idle_timeout = wire::kIdleTimeout;
  // What a frame may take beyond its bytes at kFrameBytesPerSecondMin.
  std::chrono::milliseconds frame_grace{10'000};
  // The longest that a fetch is parked: a peer that is gone unheard is found out by its answer.
  std::chrono::milliseconds fetch_wait_max = wire::kFetchWaitMax;
  // Answers sent and not yet taken by the peer; above it no further request is read and no fetch
  // answered.
  std::size_t unsent_bytes_max = 2 * wire::kFrameBytesMax;
  // In each time this long a peer takes all that waited when it began, or as much as
  // kFrameBytesPerSecondMin makes of it.
  std::chrono::milliseconds send_stall_timeout{60'000};
};

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
  // Counts memory that the request takes beside its frame, until it settles, against what its
  // connection may have in flight.
  void add_bytes(std::size_t bytes);

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

// Thread: its shard's.
class ClientConnection : public std::enable_shared_from_this<ClientConnection> {
 public:
  ClientConnection(Shard& shard, std::unique_ptr<wire::Connection> stream, std::uint64_t id);
  ~ClientConnection();
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  void start();

  Shard& shard() const { return shard_; }
  std::uint64_t id() const { return id_; }
  bool is_open() const { return stream_ != nullptr && !closing_; }
  // The address by which the peer reached this broker: "HOST:PORT".
  const std::string& local_address() const { return local_; }
  const std::string& peer_address() const { return peer_; }
  FetchSessions& sessions() { return sessions_; }

  bool greeted() const { return greeted_; }
  // The hello was answered: the full limits hold from now on. `peer_frame_bytes_max` is what the
  // peer takes.
  void greet(std::string client_name, std::size_t peer_frame_bytes_max);
  std::size_t peer_frame_bytes_max() const { return peer_frame_bytes_max_; }

  // False while the peer takes too little of what was sent; sessions().can_answer() follows when it
  // took some.
  bool can_send() const;

  // The produce budget has room again.
  void budget_freed();

  // Tells the peer that the broker is stopping. Requests in flight settle; new ones that would
  // change or wait are refused.
  void drain();
  bool idle() const { return requests_in_flight_ == 0 && unsent_bytes() == 0; }
  // Sends what is waiting, then closes.
  void close(std::chrono::milliseconds within);
  // Ends at once: the stream is gone, nothing more is read or answered, the shard forgets it.
  void forget();
  // Closes with a notice that names the reason.
  void close_because(const Error& reason);

 private:
  friend class RequestTicket;

  void receive();
  void received(Result<std::size_t> bytes);
  // Takes frames from what has arrived, as far as the limits allow; then receives on.
  void advance();
  bool over_limits() const;
  // Refuses what cannot begin a request.
  Result<> check_prefix(const wire::FramePrefix& prefix) const;
  // False while the produce budget has no room for the frame.
  bool admit(const wire::FramePrefix& prefix);
  void dispatch(Frame frame);

  void send(const RequestHead& head, std::uint16_t flags,
            const flatbuffers::FlatBufferBuilder& table, std::vector<SharedBytes> pieces,
            std::vector<BudgetHold> holds);
  void send_notice(std::uint8_t kind, const Error& reason);
  void settled(std::size_t bytes);
  // advance() in a task of its own: for those who are called by what advance() may destroy.
  void advance_later();
  std::size_t unsent_bytes() const;
  void sent();

  // What must come to pass by when.
  struct Deadline {
    SteadyTime at;
    Error missed;
  };
  SteadyTime now() const;
  // The ones that hold now, earliest first.
  std::vector<Deadline> deadlines() const;
  SteadyTime frame_deadline() const;
  // Looks at the deadlines not later than `at`.
  void look_by(SteadyTime at);
  void look_at_deadlines();
  void note_send_progress();

  Shard& shard_;
  const std::uint64_t id_;
  std::unique_ptr<wire::Connection> stream_;
  const std::string peer_;
  const std::string local_;
  std::string client_name_;
  FrameReader reader_;
  FetchSessions sessions_;

  bool greeted_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool receiving_ = false;  // a receive is pending
  bool advancing_ = false;
  bool advance_posted_ = false;
  bool waits_for_budget_ = false;
  std::byte scrap_{};     // received while closing
  BudgetHold next_hold_;  // of the admitted frame
  std::size_t peer_frame_bytes_max_ = wire::kHelloFrameBytesMax;
  std::uint32_t requests_in_flight_ = 0;
  std::size_t bytes_in_flight_ = 0;

  SteadyTime opened_at_;
  SteadyTime last_activity_;               // a frame came, or a request was settled
  std::optional<SteadyTime> frame_since_;  // when the frame being received began or went on
  // What the peer must take: everything that waited at this time, or as much as the slowest peer.
  SteadyTime send_window_at_;
  std::uint64_t sent_bytes_ = 0;  // ever given to the stream
  std::uint64_t send_window_goal_ = 0;

  TimerId watch_ = 0;  // looks at the deadlines
  SteadyTime watch_at_;
};

}  // namespace tidelog::broker
