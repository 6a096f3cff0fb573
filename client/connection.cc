#include "client/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tidelog/version.h"
#include "wire/limits.h"

namespace tidelog::client_core {
namespace {

// What a broker may ask for at most.
constexpr std::chrono::milliseconds kThrottleMax{300'000};

// Every API of this client is at its first version.
constexpr std::uint16_t kApiVersion = 1;
// Set in the correlation of a request that has no answer, so that one which comes all the same (of
// a broker that refuses the request) is told from one to nothing that was asked.
constexpr std::uint64_t kOneWay = std::uint64_t{1} << 63;

std::string_view api_name(wire::ApiKey api) {
  const wire::ApiInfo* info = wire::api_info(static_cast<std::uint16_t>(api));
  return info != nullptr ? info->name : "unknown";
}

}  // namespace

Connection::Connection(wire::Network& network, Executor& executor, BufferPool& pool,
                       ConnectionOptions options)
    : network_(network), executor_(executor), pool_(pool), options_(std::move(options)) {}

Connection::~Connection() {
  executor_.cancel(deadline_timer_);
  executor_.cancel(throttle_timer_);
  executor_.cancel(ping_timer_);
}

void Connection::open(const std::string& host, std::uint16_t port, OpenCallback done) {
  TIDELOG_CHECK(state_ == State::kNew, "a connection is opened once");
  state_ = State::kConnecting;
  open_by_ = executor_.clock().now() + options_.connect_timeout;
  name_ = fmt::format("broker at {}:{}", host, port);
  open_callback_ = std::move(done);
  network_.connect(host, port, options_.connect_timeout,
                   [this, alive = std::weak_ptr<int>(alive_)](
                       Result<std::unique_ptr<wire::Connection>> connected) {
                     if (alive.expired() || state_ == State::kClosed) return;
                     if (!connected) return close(connected.error());
                     stream_ = std::move(*connected);
                     say_hello();
                   });
}

void Connection::say_hello() {
  state_ = State::kHello;
  reader_.emplace(pool_, wire::kHelloFrameBytesMax);
  receive_more();
  HelloRequest request;
  request.client_name = options_.client_name;
  request.client_version = client::kVersion;
  request.frame_bytes_max = static_cast<std::uint32_t>(wire::kFrameBytesMax);
  request.cluster_id = options_.cluster_id;
  request.wanted_shard = options_.wanted_shard;
  const auto left =
      std::max(std::chrono::ceil<std::chrono::milliseconds>(open_by_ - executor_.clock().now()),
               std::chrono::milliseconds(1));
  call(wire::ApiKey::kHello, encode(request), {}, left,
       [this](std::expected<Answer, CallFailure> answer) { hello_answered(std::move(answer)); });
}

void Connection::hello_answered(std::expected<Answer, CallFailure> answer) {
  // Either the connection is closing, which this does not change, or the hello could not be sent.
  if (!answer) return close(answer.error().error);
  Result<HelloAnswer> hello = decode_hello(answer->table.bytes());
  if (!hello) return close(hello.error().with_context(name_));
  if (!hello->status.ok()) return close(hello->status.error().with_context(name_));
  if (hello->frame_bytes_max < wire::kFrameOverheadBytesMax + hello->batch_bytes_max ||
      hello->requests_in_flight_max == 0) {
    return close(Error(ErrorCode::kMalformedFrame,
                       fmt::format("{} announces limits that leave no room for one batch "
                                   "(frame {} bytes, batch {} bytes)",
                                   name_, hello->frame_bytes_max, hello->batch_bytes_max)));
  }
  hello_ = std::move(*hello);
  reader_->set_frame_bytes_max(wire::kFrameBytesMax);
  name_ = fmt::format("broker {} ({})", hello_.broker_id.value(), stream_->peer());
  state_ = State::kOpen;
  arm_ping_timer();
  finish_open({});
}

void Connection::finish_open(Result<> result) {
  if (!open_callback_) return;
  OpenCallback done = std::exchange(open_callback_, nullptr);
  done(std::move(result));
}

void Connection::fail_later(AnswerCallback done, Error error) {
  executor_.post([done = std::move(done), error = std::move(error),
                  alive = std::weak_ptr<int>(alive_)]() mutable {
    if (!alive.expired()) done(std::unexpected(CallFailure{std::move(error), false}));
  });
}

Connection::CallId Connection::call(wire::ApiKey api, const Table& table,
                                    std::vector<SharedBytes> raw, std::chrono::milliseconds timeout,
                                    AnswerCallback done) {
  if (state_ != State::kOpen && state_ != State::kHello) {
    fail_later(std::move(done), Error(ErrorCode::kConnectionClosed,
                                      fmt::format("the connection to {} is closed", name_)));
    return 0;
  }
  if (state_ == State::kOpen) {
    const auto served = std::ranges::find(hello_.apis, api, &wire::ApiInfo::key);
    if (served == hello_.apis.end() || served->version_min > kApiVersion ||
        served->version_max < kApiVersion) {
      fail_later(std::move(done),
                 Error(ErrorCode::kUnsupportedApi, fmt::format("{} does not serve {} version {}",
                                                               name_, api_name(api), kApiVersion)));
      return 0;
    }
  }
  std::size_t raw_bytes = 0;
  for (const SharedBytes& piece : raw) raw_bytes += piece.size();
  const std::uint64_t correlation = next_correlation_++;
  QueuedCall queued{correlation, {}, {api, executor_.clock().now() + timeout, 0, std::move(done)}};
  queued.pieces.reserve(raw.size() + 1);
  queued.pieces.push_back(wire::encode_frame(
      {.api = api, .version = kApiVersion, .correlation = correlation, .flags = 0}, table,
      raw_bytes, pool_));
  queued.call.bytes = queued.pieces.front().size() + raw_bytes;
  std::ranges::move(raw, std::back_inserter(queued.pieces));
  const std::size_t limit =
      state_ == State::kOpen ? hello_.frame_bytes_max : wire::kHelloFrameBytesMax;
  if (queued.call.bytes > limit) {
    fail_later(std::move(queued.call.done),
               Error(ErrorCode::kTooLarge,
                     fmt::format("a {} request of {} bytes is larger than the {} that {} accepts",
                                 api_name(api), queued.call.bytes, limit, name_)));
    return 0;
  }
  if (throttle_timer_ != 0) queued.call.deadline += throttled_until_ - executor_.clock().now();
  arm_deadline_timer(queued.call.deadline);
  if (queued_.empty() && throttle_timer_ == 0 && fits_window(queued.call.bytes)) {
    transmit(std::move(queued));
  } else {
    queued_.push_back(std::move(queued));
  }
  return correlation;
}

void Connection::cancel(CallId id) {
  const auto unsent = std::ranges::find(queued_, id, &QueuedCall::correlation);
  if (unsent != queued_.end()) {
    fail_later(std::move(unsent->call.done),
               Error(ErrorCode::kCancelled, "the request was cancelled before it was sent"));
    queued_.erase(unsent);
    return;
  }
  if (!is_open() || !calls_.contains(id)) return;
  call(wire::ApiKey::kCancel, encode_cancel(id), {}, options_.request_timeout,
       [](const std::expected<Answer, CallFailure>&) {
         // The answer to what was cancelled is what matters.
       });
}

void Connection::send_one_way(wire::ApiKey api, const Table& table, std::vector<SharedBytes> raw,
                              std::chrono::milliseconds timeout,
                              wire::Connection::SendCallback taken) {
  TIDELOG_CHECK(is_open(), "one-way requests need an open connection");
  std::size_t raw_bytes = 0;
  for (const SharedBytes& piece : raw) raw_bytes += piece.size();
  std::vector<SharedBytes> pieces;
  const std::uint64_t id = kOneWay | next_correlation_++;
  pieces.push_back(
      wire::encode_frame({.api = api, .version = kApiVersion, .correlation = id, .flags = 0}, table,
                         raw_bytes, pool_));
  std::ranges::move(raw, std::back_inserter(pieces));
  last_sent_ = executor_.clock().now();
  const SteadyTime deadline = last_sent_ + timeout;
  one_way_.emplace(id, OneWay{api, deadline, std::move(taken)});
  arm_deadline_timer(deadline);
  stream_->send(std::move(pieces), [this, id](Result<> result) {
    const auto at = one_way_.find(id);
    if (at == one_way_.end()) return;
    wire::Connection::SendCallback done = std::move(at->second.taken);
    one_way_.erase(at);
    done(std::move(result));
  });
}

bool Connection::has_room(std::size_t request_bytes) const {
  return is_open() && queued_.empty() && fits_window(request_bytes);
}

bool Connection::fits_window(std::size_t bytes) const {
  if (calls_.empty()) return true;
  return calls_.size() < hello_.requests_in_flight_max &&
         bytes_in_flight_ + bytes <= hello_.bytes_in_flight_max;
}

void Connection::transmit(QueuedCall queued) {
  bytes_in_flight_ += queued.call.bytes;
  last_sent_ = executor_.clock().now();
  calls_.emplace(queued.correlation, std::move(queued.call));
  stream_->send(std::move(queued.pieces), nullptr);
}

void Connection::send_queued() {
  while (!queued_.empty() && is_open() && throttle_timer_ == 0 &&
         fits_window(queued_.front().call.bytes)) {
    QueuedCall queued = std::move(queued_.front());
    queued_.pop_front();
    transmit(std::move(queued));
  }
}

void Connection::close(const Error& reason) {
  if (state_ == State::kClosed) return;
  const State was = std::exchange(state_, State::kClosed);
  close_reason_ = reason;
  executor_.cancel(std::exchange(deadline_timer_, 0));
  executor_.cancel(std::exchange(ping_timer_, 0));
  executor_.cancel(std::exchange(throttle_timer_, 0));
  if (stream_) stream_->close();
  auto calls = std::exchange(calls_, {});
  auto queued = std::exchange(queued_, {});
  auto one_way = std::exchange(one_way_, {});
  const std::weak_ptr<int> alive = alive_;
  for (auto& [id, sent] : one_way) {
    sent.taken(fail(close_reason_));
    if (alive.expired()) return;
  }
  for (auto& [correlation, call] : calls) {
    // Absent while a part of its answer is being handled, further up the stack.
    if (call.done) call.done(std::unexpected(CallFailure{close_reason_, true}));
    if (alive.expired()) return;
  }
  // What is wrong with this connection is nothing against a request that was not sent on it.
  const bool stands = close_reason_.retriable() || close_reason_.code() == ErrorCode::kCancelled;
  const Error unsent =
      stands ? close_reason_ : Error(ErrorCode::kConnectionClosed, close_reason_.message());
  for (QueuedCall& waiting : queued) {
    waiting.call.done(std::unexpected(CallFailure{unsent, false}));
    if (alive.expired()) return;
  }
  if (was != State::kOpen) return finish_open(fail(close_reason_));
  if (closed_callback_) closed_callback_(close_reason_);
}

void Connection::receive_more() {
  const FrameReader::Room room = reader_->room();
  stream_->receive(room.into, room.bytes_min,
                   [this](Result<std::size_t> count) { received(std::move(count)); });
}

void Connection::received(Result<std::size_t> count) {
  if (state_ == State::kClosed) return;
  if (!count) {
    if (notice_.empty()) return close(count.error().with_context(name_));
    return close(Error(ErrorCode::kConnectionClosed,
                       fmt::format("{} closed the connection: {}", name_, notice_)));
  }
  reader_->received(*count);
  const std::weak_ptr<int> alive = alive_;
  while (true) {
    const Result<std::optional<Frame>> frame = reader_->next();
    if (!frame) return close(frame.error().with_context(name_));
    if (!*frame) return receive_more();
    frame_arrived(**frame);
    if (alive.expired() || state_ == State::kClosed) return;
  }
}

void Connection::frame_arrived(const Frame& frame) {
  if (frame.prefix.correlation == 0) return notice_arrived(frame.table().bytes());
  answer_arrived(frame.prefix, Answer{frame.table(), frame.raw(),
                                      (frame.prefix.flags & wire::kFrameMoreParts) != 0});
}

void Connection::answer_arrived(const wire::FramePrefix& prefix, Answer answer) {
  if (prefix.is_answer() && (prefix.correlation & kOneWay) != 0 &&
      (prefix.correlation & ~kOneWay) < next_correlation_) {
    return;  // nobody waits for it
  }
  const auto at = calls_.find(prefix.correlation);
  if (at == calls_.end() || !prefix.is_answer() ||
      prefix.api_key != static_cast<std::uint16_t>(at->second.api)) {
    return close(Error(ErrorCode::kMalformedFrame,
                       fmt::format("{} sent an answer (api {}, correlation {}) to nothing that was "
                                   "asked",
                                   name_, prefix.api_key, prefix.correlation)));
  }
  const std::chrono::milliseconds wait(decode_throttle_ms(answer.table.bytes()));
  if (wait.count() > 0) throttle(wait);
  const std::weak_ptr<int> alive = alive_;
  if (answer.more_parts) {
    // The callback may close or destroy this connection, so it must not run out of the table.
    AnswerCallback done = std::exchange(at->second.done, nullptr);
    done(std::move(answer));
    if (alive.expired()) return;
    const auto still = calls_.find(prefix.correlation);
    if (still != calls_.end()) {
      still->second.done = std::move(done);
    } else {
      done(std::unexpected(CallFailure{close_reason_, true}));
    }
    return;
  }
  Call call = std::move(at->second);
  calls_.erase(at);
  bytes_in_flight_ -= call.bytes;
  call.done(std::move(answer));
  if (alive.expired() || state_ == State::kClosed) return;
  send_queued();
}

void Connection::notice_arrived(std::span<const std::byte> table) {
  Result<Notice> notice = decode_notice(table);
  if (!notice) return close(notice.error().with_context(name_));
  notice_ = notice->status.message;
  if (notice->kind == static_cast<std::uint8_t>(NoticeKind::kDraining) && draining_callback_) {
    draining_callback_();
  }
}

void Connection::throttle(std::chrono::milliseconds wait) {
  const SteadyTime now = executor_.clock().now();
  const SteadyTime until = now + std::min(wait, kThrottleMax);
  const auto longer = until - (throttle_timer_ != 0 ? throttled_until_ : now);
  if (longer <= SteadyTime::duration::zero()) return;
  // The broker reads nothing meanwhile, so what it has not answered yet takes longer, too.
  for (auto& [correlation, call] : calls_) call.deadline += longer;
  for (QueuedCall& waiting : queued_) waiting.call.deadline += longer;
  for (auto& [id, sent] : one_way_) sent.deadline += longer;
  throttled_until_ = until;
  executor_.cancel(throttle_timer_);
  throttle_timer_ =
      executor_.run_after(std::chrono::ceil<std::chrono::microseconds>(until - now), [this] {
        throttle_timer_ = 0;
        send_queued();
      });
}

void Connection::arm_deadline_timer(SteadyTime at) {
  if (deadline_timer_ != 0 && deadline_timer_at_ <= at) return;
  executor_.cancel(deadline_timer_);
  deadline_timer_at_ = at;
  const auto delay = std::max(at - executor_.clock().now(), std::chrono::microseconds(0));
  deadline_timer_ = executor_.run_after(delay, [this] {
    deadline_timer_ = 0;
    check_deadlines();
  });
}

void Connection::check_deadlines() {
  const SteadyTime now = executor_.clock().now();
  std::optional<SteadyTime> next;
  std::string overdue;
  const auto look = [&](const auto& sent, std::string_view failing) {
    if (sent.deadline <= now) {
      overdue =
          fmt::format("{} did not {} a {} request in time", name_, failing, api_name(sent.api));
    } else {
      next = std::min(next.value_or(sent.deadline), sent.deadline);
    }
  };
  for (const auto& [correlation, call] : calls_) look(call, "answer");
  for (const QueuedCall& waiting : queued_) look(waiting.call, "answer");
  for (const auto& [id, sent] : one_way_) look(sent, "take");
  if (!overdue.empty()) return close(Error(ErrorCode::kTimedOut, overdue));
  if (next) arm_deadline_timer(*next);
}

std::chrono::microseconds Connection::ping_interval() const {
  const std::chrono::milliseconds idle(hello_.idle_timeout_ms);
  return (idle.count() > 0 ? idle : std::chrono::milliseconds(wire::kIdleTimeout)) / 3;
}

void Connection::arm_ping_timer() {
  const auto third = ping_interval();
  const SteadyTime due = last_sent_ + third;
  const auto delay = std::max(due - executor_.clock().now(), third / 10);
  ping_timer_ = executor_.run_after(delay, [this] {
    ping_timer_ = 0;
    ping_if_idle();
  });
}

void Connection::ping_if_idle() {
  if (executor_.clock().now() - last_sent_ >= ping_interval()) {
    call(wire::ApiKey::kPing, encode_ping(), {}, options_.request_timeout,
         [](const std::expected<Answer, CallFailure>&) {
           // The answer's arrival is all that matters; without one the connection closes.
         });
  }
  arm_ping_timer();
}

}  // namespace tidelog::client_core
