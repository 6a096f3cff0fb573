// One client's connection: reads frames within the limits, hands them to their handlers, sends
// answers.
//
// Limits: frames of at most 64 KiB until the hello is answered, which must come within 10 s; then
// the limits named in the hello. A frame that has begun must go on at 64 KiB/s. The connection
// stops reading while too many requests or bytes are in flight, while the produce budget is used
// up (of large requests of another kind: the control budget), while its client is above its quota,
// or while its peer does not take what was sent. A stream that cannot be followed any more
// (wrong magic, wrong checksum, absurd length) is closed with a notice that says what was seen.
//
// Shard: a connection lives on the shard that accepted it until its hello, which may ask for
// another one. There it lives until it ends.
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
#include "broker/connection_slots.h"
#include "broker/frame_reader.h"
#include "broker/quotas.h"
#include "broker/request_ticket.h"
#include "broker/session.h"
#include "broker/throttle.h"
#include "wire/limits.h"
#include "wire/transport/transport.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace tidelog::broker {

class Shard;

// As in wire/protocol.fbs.
enum class NoticeKind : std::uint8_t { kClosing, kDraining };
// Encodes a notice (handlers/dispatch.cc).
void write_notice(flatbuffers::FlatBufferBuilder& to, NoticeKind kind, const Error& reason);

// What a connection may take; tests make it small.
struct ConnectionLimits {
  std::size_t frame_bytes_max = wire::kFrameBytesMax;
  std::uint32_t requests_in_flight_max = wire::kRequestsInFlightMax;
  std::size_t bytes_in_flight_max = wire::kBytesInFlightMax;
  std::chrono::milliseconds hello_timeout = wire::kHelloTimeout;
  std::chrono::milliseconds idle_timeout = wire::kIdleTimeout;
  // What a frame may take beyond its bytes at kFrameBytesPerSecondMin.
  std::chrono::milliseconds frame_grace{10'000};
  // The same while others wait for the memory that the frame takes; then it must also be faster, by
  // a factor of 8.
  std::chrono::milliseconds scarce_frame_grace{1'000};
  // The longest that a fetch is parked: a peer that is gone unheard is found out by its answer.
  std::chrono::milliseconds fetch_wait_max = wire::kFetchWaitMax;
  // Answers sent and not yet taken by the peer; above it no further request is read and no fetch
  // answered.
  std::size_t unsent_bytes_max = 2 * wire::kFrameBytesMax;
  // In each time this long a peer takes all that waited when it began, or as much as
  // kFrameBytesPerSecondMin makes of it.
  std::chrono::milliseconds send_stall_timeout{60'000};
};

// A hello that was found sound.
struct Greeting {
  RequestHead head;
  std::string client_name;
  std::size_t frame_bytes_max = 0;  // that the peer takes
};

// Thread: its shard's.
class ClientConnection : public std::enable_shared_from_this<ClientConnection> {
 public:
  ClientConnection(Shard& shard, std::unique_ptr<wire::Connection> stream, ConnectionSlot slot,
                   std::uint64_t id);
  ~ClientConnection();
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  void start();
  // Goes on with a connection that another shard gave up: `rest` is what arrived behind its hello.
  void resume(const Greeting& greeting, std::span<const std::byte> rest);
  // Gives the connection to another shard, which answers the hello; this one forgets it. False when
  // something of it is still under way here: then it stays.
  bool move_to(std::size_t shard, Greeting greeting);

  Shard& shard() const { return shard_; }
  std::uint64_t id() const { return id_; }
  bool is_open() const { return stream_ != nullptr && !closing_; }
  // The address by which the peer reached this broker: "HOST:PORT".
  const std::string& local_address() const { return local_; }
  const std::string& peer_address() const { return peer_; }
  FetchSessions& sessions() { return sessions_; }

  bool greeted() const { return greeted_; }
  // The hello is answered: the full limits hold from now on.
  void greet(const Greeting& greeting);
  std::size_t peer_frame_bytes_max() const { return peer_frame_bytes_max_; }

  // False while the peer takes too little of what was sent, or is above its quota;
  // sessions().can_answer() follows when that has changed.
  bool can_answer_fetch() const;
  // Counts bytes that are sent now against the client's quota.
  void charge_out(std::size_t bytes);
  // How long the client should wait before it asks again, ms, because of its quota.
  std::uint32_t throttle_in_ms() const { return throttle_in_.ms_left(); }
  std::uint32_t throttle_out_ms() const { return throttle_out_.ms_left(); }

  // `budget`, for which this waits, may have room again. True when it need not wait any more.
  bool retry_admission(MemoryBudget& budget);

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
  // False while the budget that the frame takes from has no room for it, or its client is above its
  // quota.
  bool admit(const wire::FramePrefix& prefix);
  bool can_send() const;
  void charge_in(std::size_t bytes);
  bool arrives_on_budget() const { return frame_since_ && next_hold_; }
  void dispatch(Frame frame);

  void send(const RequestHead& head, std::uint16_t flags,
            const flatbuffers::FlatBufferBuilder& table, std::vector<SharedBytes> pieces,
            std::vector<BudgetHold> holds);
  void send_notice(NoticeKind kind, const Error& reason);
  void settled(std::size_t bytes);
  // The stream is no longer this connection's.
  void gone();
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
  // False while it is not the peer that keeps the connection idle: requests are in flight, or this
  // side does not read.
  bool may_idle() const {
    return requests_in_flight_ == 0 && !throttle_in_.holds() && waits_for_bytes_ == 0;
  }
  // The peer's time to send something begins anew.
  void begin_idle_time();
  // Looks at the deadlines not later than `at`.
  void look_by(SteadyTime at);
  void look_at_deadlines();
  void note_send_progress();

  Shard& shard_;
  const std::uint64_t id_;
  std::unique_ptr<wire::Connection> stream_;
  ConnectionSlot slot_;
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
  std::size_t waits_for_bytes_ = 0;  // of a budget; 0: it does not wait
  std::byte scrap_{};                // received while closing
  BudgetHold next_hold_;             // of the admitted frame
  std::size_t peer_frame_bytes_max_ = wire::kHelloFrameBytesMax;
  std::uint32_t requests_in_flight_ = 0;
  std::size_t bytes_in_flight_ = 0;

  std::shared_ptr<ClientQuota> quota_;
  Throttle throttle_in_;   // while it holds nothing is read
  Throttle throttle_out_;  // while it holds no fetch is answered

  SteadyTime opened_at_;
  SteadyTime last_activity_;  // a frame came, a request settled, or this side reads again
  std::optional<SteadyTime> frame_since_;  // when the frame being received began or went on
  // What the peer must take: everything that waited at this time, or as much as the slowest peer.
  SteadyTime send_window_at_;
  std::uint64_t sent_bytes_ = 0;  // ever given to the stream
  std::uint64_t send_window_goal_ = 0;

  TimerId watch_ = 0;  // looks at the deadlines
  SteadyTime watch_at_;
};

}  // namespace tidelog::broker
