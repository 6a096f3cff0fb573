#include "broker/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/logging.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/metrics.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

// How long a notice may take to reach a peer that does not read.
constexpr std::chrono::milliseconds kNoticeDeadline{1000};

// While memory is scarce: how much faster a frame must arrive, and how often that is looked at.
constexpr std::size_t kScarceRateFactor = 8;
constexpr std::chrono::milliseconds kArrivalLook{500};

}  // namespace

ClientConnection::ClientConnection(Shard& shard, std::unique_ptr<wire::Connection> stream,
                                   ConnectionSlot slot, std::uint64_t id)
    : shard_(shard),
      id_(id),
      stream_(std::move(stream)),
      slot_(std::move(slot)),
      peer_(stream_->peer()),
      local_(stream_->local()),
      reader_(shard.buffers()),
      sessions_(*this),
      throttle_in_(shard.executor()),
      throttle_out_(shard.executor()),
      opened_at_(shard.executor().clock().now()),
      last_activity_(opened_at_),
      send_window_at_(opened_at_) {}

ClientConnection::~ClientConnection() = default;

void ClientConnection::start() {
  look_by(opened_at_ + shard_.broker().limits.hello_timeout);
  receive();
}

void ClientConnection::resume(const Greeting& greeting, std::span<const std::byte> rest) {
  reader_.begin_with(rest);
  ++requests_in_flight_;
  shard_.metrics().requests_in_flight.add();
  answer_hello(shard_, RequestTicket(shared_from_this(), greeting.head, 0, BudgetHold()), greeting);
  advance();
}

bool ClientConnection::move_to(std::size_t shard, Greeting greeting) {
  // Pings may have come before the hello.
  if (requests_in_flight_ != 1 || unsent_bytes() > 0 || draining_) return false;
  shard_.give_away(shard, std::move(stream_), std::move(slot_), std::move(greeting),
                   reader_.take_rest());
  gone();
  return true;
}

void ClientConnection::greet(const Greeting& greeting) {
  greeted_ = true;
  client_name_ = greeting.client_name;
  quota_ = shard_.broker().quotas.of(client_name_, now());
  // What it used on other connections is not forgotten.
  charge_in(0);
  charge_out(0);
  peer_frame_bytes_max_ = greeting.frame_bytes_max;
}

std::size_t ClientConnection::unsent_bytes() const { return stream_ ? stream_->unsent_bytes() : 0; }

bool ClientConnection::can_send() const {
  return unsent_bytes() < shard_.broker().limits.unsent_bytes_max;
}

bool ClientConnection::can_answer_fetch() const {
  if (throttle_out_.holds() || !can_send()) return false;
  // Who takes slowly holds memory that others need; the half that is left is for those who do not.
  return unsent_bytes() == 0 || !shard_.broker().fetch_budget.is_scarce();
}

void ClientConnection::charge_in(std::size_t bytes) {
  if (!quota_) return;
  const auto wait = shard_.broker().quotas.charge_in(*quota_, bytes, now());
  if (wait.count() == 0) return;
  shard_.metrics().throttled.add();
  throttle_in_.hold_for(wait, [this] {
    begin_idle_time();
    advance();
  });
}

void ClientConnection::charge_out(std::size_t bytes) {
  if (!quota_) return;
  const auto wait = shard_.broker().quotas.charge_out(*quota_, bytes, now());
  if (wait.count() == 0) return;
  shard_.metrics().throttled.add();
  throttle_out_.hold_for(wait, [this] { sessions_.can_answer(); });
}

void ClientConnection::receive() {
  if (receiving_ || stream_ == nullptr) return;
  receiving_ = true;
  if (reader_.inside_frame() && !frame_since_) {
    frame_since_ = now();
    look_by(frame_deadline());
  }
  if (arrives_on_budget()) look_by(now() + kArrivalLook);
  const FrameReader::Space space = reader_.space();
  stream_->receive(space.into, space.bytes_min,
                   [this](Result<std::size_t> bytes) { received(std::move(bytes)); });
}

void ClientConnection::received(Result<std::size_t> bytes) {
  receiving_ = false;
  if (!bytes) {
    if (!closing_ && reader_.inside_frame()) {
      log_debug(fmt::format("connection from {} ended inside a frame: {}", peer_,
                            bytes.error().message()));
    }
    return forget();
  }
  shard_.metrics().received_bytes.add(*bytes);
  if (closing_) return forget();
  reader_.received(*bytes);
  advance();
}

void ClientConnection::advance() {
  if (advancing_ || receiving_ || closing_ || stream_ == nullptr) return;
  // A handler may settle its request at once, which is looked at by this loop.
  advancing_ = true;
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  bool need_bytes = false;
  while (!closing_ && stream_ != nullptr && !over_limits()) {
    const std::size_t frame_bytes_max =
        greeted_ ? shard_.broker().limits.frame_bytes_max : wire::kHelloFrameBytesMax;
    const Result<std::optional<wire::FramePrefix>> prefix = reader_.peek(frame_bytes_max);
    if (!prefix) {
      close_because(prefix.error());
      break;
    }
    need_bytes = !*prefix;
    if (need_bytes) break;
    if (!reader_.admitted()) {
      if (const Result<> sound = check_prefix(**prefix); !sound) {
        close_because(sound.error());
        break;
      }
      if (!admit(**prefix)) break;
    }
    Result<std::optional<Frame>> frame = reader_.take();
    if (!frame) {
      close_because(frame.error());
      break;
    }
    need_bytes = !*frame;
    if (need_bytes) break;
    dispatch(std::move(**frame));
  }
  advancing_ = false;
  if (need_bytes && !closing_) {
    receive();
  } else {
    frame_since_.reset();  // the peer is not to blame while this side does not read
  }
}

bool ClientConnection::over_limits() const {
  const ConnectionLimits& limits = shard_.broker().limits;
  return throttle_in_.holds() || requests_in_flight_ >= limits.requests_in_flight_max ||
         bytes_in_flight_ >= limits.bytes_in_flight_max || !can_send();
}

Result<> ClientConnection::check_prefix(const wire::FramePrefix& prefix) const {
  if (prefix.flags != 0) {
    return tidelog::fail(ErrorCode::kMalformedFrame,
                         fmt::format("a request has no flags, but {:#x} came", prefix.flags));
  }
  if (prefix.correlation == 0) {
    return tidelog::fail(ErrorCode::kMalformedFrame,
                         "correlation id 0 is reserved for notices of the broker");
  }
  return {};
}

bool ClientConnection::admit(const wire::FramePrefix& prefix) {
  if (waits_for_bytes_ != 0) return false;
  BrokerContext& broker = shard_.broker();
  MemoryBudget* budget = nullptr;
  if (prefix.api_key == static_cast<std::uint16_t>(wire::ApiKey::kProduce)) {
    // Another connection of this client may have used its quota up.
    charge_in(0);
    if (throttle_in_.holds()) return false;
    budget = &broker.produce_budget;
  } else if (prefix.frame_bytes > kSmallRequestBytesMax) {
    budget = &broker.control_budget;
  }
  if (budget != nullptr) {
    // Behind those of this shard who came before.
    if (!shard_.is_waited_for(*budget)) next_hold_ = budget->take(prefix.frame_bytes);
    if (!next_hold_) {
      waits_for_bytes_ = prefix.frame_bytes;
      shard_.wait_for_budget(*budget, shared_from_this());
      return false;
    }
  }
  reader_.admit();
  return true;
}

bool ClientConnection::retry_admission(MemoryBudget& budget) {
  if (stream_ != nullptr && !closing_) {
    next_hold_ = budget.take(waits_for_bytes_);
    if (!next_hold_) return false;
    waits_for_bytes_ = 0;
    reader_.admit();
    begin_idle_time();
    advance_later();
  }
  waits_for_bytes_ = 0;
  return true;
}

void ClientConnection::dispatch(Frame frame) {
  last_activity_ = now();
  frame_since_.reset();
  const std::size_t bytes = frame.prefix.frame_bytes;
  ++requests_in_flight_;
  shard_.metrics().requests_in_flight.add();
  bytes_in_flight_ += bytes;
  const RequestHead head{.api = static_cast<wire::ApiKey>(frame.prefix.api_key),
                         .version = frame.prefix.api_version,
                         .correlation = frame.prefix.correlation};
  // What is no produce takes the memory of its frame only until it was read.
  BudgetHold hold = std::move(next_hold_);
  BudgetHold kept;
  if (head.api == wire::ApiKey::kProduce) {
    charge_in(frame.prefix.raw_bytes());
    kept = std::move(hold);
  }
  broker::dispatch(shard_, RequestTicket(shared_from_this(), head, bytes, std::move(kept)),
                   std::move(frame));
}

void ClientConnection::settled(std::size_t bytes) {
  --requests_in_flight_;
  shard_.metrics().requests_in_flight.subtract();
  bytes_in_flight_ -= bytes;
  if (stream_ == nullptr) return;
  begin_idle_time();
  advance_later();
}

void ClientConnection::begin_idle_time() {
  last_activity_ = now();
  if (may_idle()) look_by(last_activity_ + shard_.broker().limits.idle_timeout);
}

void ClientConnection::advance_later() {
  if (advance_posted_ || advancing_ || receiving_ || closing_) return;
  advance_posted_ = true;
  shard_.executor().post([self = shared_from_this()] {
    self->advance_posted_ = false;
    self->advance();
  });
}

void ClientConnection::send(const RequestHead& head, std::uint16_t flags,
                            const flatbuffers::FlatBufferBuilder& table,
                            std::vector<SharedBytes> pieces, std::vector<BudgetHold> holds) {
  if (stream_ == nullptr) return;
  std::size_t raw_bytes = 0;
  for (const SharedBytes& piece : pieces) raw_bytes += piece.size();
  pieces.insert(pieces.begin(), shard_.frames().encode({.api = head.api,
                                                        .version = head.version,
                                                        .correlation = head.correlation,
                                                        .flags = flags},
                                                       table, raw_bytes));
  const bool nothing_waited = unsent_bytes() == 0;
  for (const SharedBytes& piece : pieces) sent_bytes_ += piece.size();
  shard_.metrics().sent_bytes.add(pieces.front().size() + raw_bytes);
  stream_->send(std::move(pieces), [this, holds = std::move(holds)](Result<> result) mutable {
    holds.clear();
    if (result) return sent();
    // A stream that broke is heard of by its receive; but over its limits a connection has none.
    if (!receiving_ && !closing_) forget();
  });
  if (!nothing_waited) return;
  send_window_at_ = now();
  send_window_goal_ = sent_bytes_;
  look_by(send_window_at_ + shard_.broker().limits.send_stall_timeout);
}

void ClientConnection::sent() {
  if (stream_ == nullptr || closing_) return;
  sessions_.can_answer();
  advance();
}

void ClientConnection::send_notice(NoticeKind kind, const Error& reason) {
  flatbuffers::FlatBufferBuilder& table = shard_.builder();
  write_notice(table, kind, reason);
  send(RequestHead{}, 0, table, {}, {});
}

void ClientConnection::close_because(const Error& reason) {
  if (!is_open()) return;
  if (reason.code() == ErrorCode::kMalformedFrame || reason.code() == ErrorCode::kTooLarge ||
      reason.code() == ErrorCode::kChecksumMismatch) {
    shard_.metrics().malformed_frames.add();
  }
  if (const auto left_out = shard_.closed_lines().admit(shard_.executor().clock().now())) {
    log_info(fmt::format("connection from {}{} is closed: {}{}", peer_,
                         client_name_.empty() ? "" : fmt::format(" ({})", client_name_),
                         reason.to_string(),
                         *left_out == 0 ? "" : fmt::format(" ({} such lines left out)", *left_out)),
             {{"peer", peer_}, {"error", std::string(reason.info().name)}});
  }
  send_notice(NoticeKind::kClosing, reason);
  close(kNoticeDeadline);
}

void ClientConnection::drain() {
  if (!is_open()) return;
  draining_ = true;
  send_notice(NoticeKind::kDraining,
              Error(ErrorCode::kDraining,
                    fmt::format("broker {} is stopping", shard_.broker().id.value())));
  sessions_.answer_all();
}

void ClientConnection::close(std::chrono::milliseconds within) {
  if (!is_open()) return;
  closing_ = true;
  stream_->close_when_sent(within);
  if (receiving_) return;
  // Its end is how the close is heard of; what still comes is thrown away by the stream.
  receiving_ = true;
  stream_->receive(std::span(&scrap_, 1), 1,
                   [this](Result<std::size_t> bytes) { received(std::move(bytes)); });
}

void ClientConnection::forget() {
  if (stream_ == nullptr) return;
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  stream_.reset();
  gone();
}

void ClientConnection::gone() {
  shard_.executor().cancel(std::exchange(watch_, 0));
  throttle_in_.end();
  throttle_out_.end();
  slot_.release();
  sessions_.close_all();
  next_hold_.release();
  shard_.connection_gone(id_);
}

SteadyTime ClientConnection::now() const { return shard_.executor().clock().now(); }

SteadyTime ClientConnection::frame_deadline() const {
  const BrokerContext& broker = shard_.broker();
  const ConnectionLimits& limits = broker.limits;
  const bool others_wait = arrives_on_budget() && (broker.produce_budget.is_waited_for() ||
                                                   broker.control_budget.is_waited_for());
  const std::size_t rate = wire::kFrameBytesPerSecondMin * (others_wait ? kScarceRateFactor : 1);
  return *frame_since_ + (others_wait ? limits.scarce_frame_grace : limits.frame_grace) +
         std::chrono::milliseconds(reader_.frame_bytes() * 1000 / rate);
}

std::vector<ClientConnection::Deadline> ClientConnection::deadlines() const {
  const ConnectionLimits& limits = shard_.broker().limits;
  std::vector<Deadline> all;
  const auto add = [&all](SteadyTime at, std::string missed) {
    all.push_back({at, Error(ErrorCode::kTimedOut, std::move(missed))});
  };
  if (!greeted_) {
    add(opened_at_ + limits.hello_timeout,
        fmt::format("no hello came within {} ms", limits.hello_timeout.count()));
  }
  if (frame_since_) {
    const auto allowed =
        std::chrono::duration_cast<std::chrono::milliseconds>(frame_deadline() - *frame_since_);
    add(frame_deadline(), fmt::format("a frame of {} bytes did not arrive within {} ms",
                                      reader_.frame_bytes(), allowed.count()));
  }
  if (unsent_bytes() > 0) {
    add(send_window_at_ + limits.send_stall_timeout,
        fmt::format("{} bytes of answers were not taken for {} ms", unsent_bytes(),
                    limits.send_stall_timeout.count()));
  }
  if (may_idle()) {
    add(last_activity_ + limits.idle_timeout,
        fmt::format("nothing came for {} ms", limits.idle_timeout.count()));
  }
  std::ranges::sort(all, {}, &Deadline::at);
  return all;
}

void ClientConnection::look_by(SteadyTime at) {
  if (watch_ != 0 && watch_at_ <= at) return;
  shard_.executor().cancel(watch_);
  watch_at_ = at;
  const auto left = std::max(at - now(), SteadyTime::duration::zero());
  watch_ = shard_.executor().run_after(std::chrono::ceil<std::chrono::microseconds>(left), [this] {
    watch_ = 0;
    look_at_deadlines();
  });
}

void ClientConnection::look_at_deadlines() {
  if (!is_open()) return;
  note_send_progress();
  const std::vector<Deadline> all = deadlines();
  // With requests in flight a connection may have none; it is looked at when the next one begins.
  if (all.empty()) return;
  if (all.front().at <= now()) return close_because(all.front().missed);
  look_by(all.front().at);
  if (arrives_on_budget()) look_by(now() + kArrivalLook);
}

// Begins the next time in which the peer must take something, if it did so in this one.
void ClientConnection::note_send_progress() {
  const std::size_t unsent = unsent_bytes();
  if (unsent > 0 && sent_bytes_ - unsent < send_window_goal_) return;
  const std::uint64_t least =
      static_cast<std::uint64_t>(shard_.broker().limits.send_stall_timeout.count()) *
      wire::kFrameBytesPerSecondMin / 1000;
  send_window_at_ = now();
  send_window_goal_ = sent_bytes_ - unsent + std::min<std::uint64_t>(unsent, least);
}

}  // namespace tidelog::broker
