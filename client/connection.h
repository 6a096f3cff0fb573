// One connection to one broker, speaking the native protocol: hello, correlated requests and
// answers, limits of both sides, pings, notices. Knows nothing of topics or records.
//
// Life: open() connects and says hello; then call() and send_one_way(); then closed, once, for
// whatever reason, which every unanswered call and the closed-callback hear. A closed connection is
// not opened again. Thread: its executor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "client/frame_reader.h"
#include "client/messages.h"
#include "wire/transport/transport.h"

namespace tidelog::client_core {

struct ConnectionOptions {
  std::string client_name = "tidelog-client";
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds request_timeout{30000};
  // The cluster that the broker must belong to, once known.
  std::optional<ClusterId> cluster_id;
  // The broker's shard that it is for. The broker may serve it by another one (hello().shard).
  std::int32_t wanted_shard = kAnyShard;
  // Tells this connection from others of its time.
  std::uint64_t serial = 0;
};

// One answer, or one part of it.
struct Answer {
  SharedBytes table;  // aligned to 8
  SharedBytes raw;    // record batches
  bool more_parts = false;
};

// A call without (further) answer. `maybe_carried_out`: the request was handed to the network, so
// that the broker may have acted on it.
struct CallFailure {
  Error error;
  bool maybe_carried_out = false;
};

class Connection {
 public:
  // `network`, `executor` and `pool` must outlive this, and `pool` every answer's bytes.
  Connection(wire::Network& network, Executor& executor, BufferPool& pool,
             ConnectionOptions options);
  // Ends the connection; no callback runs any more.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  using OpenCallback = std::move_only_function<void(Result<>)>;
  // Connects and says hello, within connect_timeout. Call once. Fails with kConnectionFailed,
  // kTimedOut, kWrongCluster, or what the broker answered; then the connection is closed.
  void open(const std::string& host, std::uint16_t port, OpenCallback done);

  // Called once when an opened connection closes by itself, behind the failures of its calls.
  void on_closed(std::move_only_function<void(const Error&)> closed) {
    closed_callback_ = std::move(closed);
  }
  // Called when the broker asks its clients to go elsewhere; what is open may finish.
  void on_draining(std::move_only_function<void()> draining) {
    draining_callback_ = std::move(draining);
  }

  // Called for every part of the answer; the last has more_parts false, a failure is always last.
  // Never runs inside call().
  using AnswerCallback = std::move_only_function<void(std::expected<Answer, CallFailure>)>;
  // Names a call of this connection; 0: none.
  using CallId = std::uint64_t;
  // Sends a request; it waits its turn where the broker's limits are reached. `timeout` runs from
  // now; when it passes the connection is closed, since the outcome of everything on it is
  // unknown. Fails with kTimedOut, kConnectionClosed, kTooLarge (above the broker's frame limit),
  // kUnsupportedApi, kMalformedFrame and kChecksumMismatch (what the broker sent). One that was
  // not sent fails with kConnectionClosed where the connection's own reason is none to give up.
  CallId call(wire::ApiKey api, const Table& table, std::vector<SharedBytes> raw,
              std::chrono::milliseconds timeout, AnswerCallback done);
  // Nobody waits for this call any more: the broker is asked to answer it now, which ends what may
  // be cancelled and lets everything else take its time. One that was not sent fails with
  // kCancelled. Does nothing to one that ended.
  void cancel(CallId id);

  // Sends a request that has no answer; one that comes all the same is ignored. `taken` runs when
  // the network has taken all of it, or with an error when the connection closed first, which it
  // does when `timeout` passes.
  void send_one_way(wire::ApiKey api, const Table& table, std::vector<SharedBytes> raw,
                    std::chrono::milliseconds timeout, wire::Connection::SendCallback taken);

  // True when a request of this size would be sent at once, or next once the broker lets this
  // client go on.
  bool has_room(std::size_t request_bytes) const;
  bool is_open() const { return state_ == State::kOpen; }
  std::size_t calls_open() const { return calls_.size() + queued_.size(); }
  // REQUIRES: open() succeeded.
  const HelloAnswer& hello() const { return hello_; }
  std::uint64_t serial() const { return options_.serial; }
  // "broker 1 (127.0.0.1:9700)", for messages.
  const std::string& name() const { return name_; }

  // Fails what is open with `reason`; what was not sent see call().
  void close(const Error& reason);

 private:
  enum class State : std::uint8_t { kNew, kConnecting, kHello, kOpen, kClosed };
  struct Call {
    wire::ApiKey api;
    SteadyTime deadline;
    std::size_t bytes;
    AnswerCallback done;
  };
  struct OneWay {
    wire::ApiKey api;
    SteadyTime deadline;
    wire::Connection::SendCallback taken;
  };
  struct QueuedCall {
    std::uint64_t correlation;
    std::vector<SharedBytes> pieces;
    Call call;
  };

  void say_hello();
  void hello_answered(std::expected<Answer, CallFailure> answer);
  void finish_open(Result<> result);
  void fail_later(AnswerCallback done, Error error);
  bool fits_window(std::size_t bytes) const;
  void transmit(QueuedCall queued);
  void send_queued();

  void receive_more();
  void received(Result<std::size_t> count);
  void frame_arrived(const Frame& frame);
  void answer_arrived(const wire::FramePrefix& prefix, Answer answer);
  void notice_arrived(std::span<const std::byte> table);

  // The client is above its quota: what is not sent yet waits, and everything has so much longer.
  void throttle(std::chrono::milliseconds wait);
  void arm_deadline_timer(SteadyTime at);
  void check_deadlines();
  std::chrono::microseconds ping_interval() const;
  void arm_ping_timer();
  void ping_if_idle();

  wire::Network& network_;
  Executor& executor_;
  BufferPool& pool_;
  const ConnectionOptions options_;
  State state_ = State::kNew;
  std::string name_;
  std::unique_ptr<wire::Connection> stream_;
  HelloAnswer hello_;
  OpenCallback open_callback_;
  SteadyTime open_by_;
  std::move_only_function<void(const Error&)> closed_callback_;
  std::move_only_function<void()> draining_callback_;
  Error close_reason_{ErrorCode::kConnectionClosed, "the connection is closed"};
  std::string notice_;  // what the broker said before it closed

  std::uint64_t next_correlation_ = 1;
  std::map<std::uint64_t, Call> calls_;  // sent, unanswered
  std::size_t bytes_in_flight_ = 0;
  std::deque<QueuedCall> queued_;
  std::map<std::uint64_t, OneWay> one_way_;  // sent, not taken
  std::optional<FrameReader> reader_;        // from the hello on

  TimerId deadline_timer_ = 0;
  SteadyTime deadline_timer_at_;
  TimerId throttle_timer_ = 0;  // nothing is sent while it runs
  SteadyTime throttled_until_;
  TimerId ping_timer_ = 0;
  SteadyTime last_sent_;
  // Callbacks of others (connect, posted failures) hold it weakly and do nothing once it is gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace tidelog::client_core
