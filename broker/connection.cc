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

}  // namespace

RequestTicket::RequestTicket(std::shared_ptr<ClientConnection> connection, RequestHead head,
                             std::size_t bytes, BudgetHold hold)
    : connection_(std::move(connection)),
      head_(head),
      bytes_(bytes),
      received_at_(connection_->shard().executor().clock().now()),
      hold_(std::move(hold)) {}

RequestTicket& RequestTicket::operator=(RequestTicket&& other) noexcept {
  settle();
  connection_ = std::move(other.connection_);
  head_ = other.head_;
  bytes_ = other.bytes_;
  received_at_ = other.received_at_;
  hold_ = std::move(other.hold_);
  return *this;
}

void RequestTicket::add_bytes(std::size_t bytes) {
  bytes_ += bytes;
  connection_->bytes_in_flight_ += bytes;
}

void RequestTicket::answer(const flatbuffers::FlatBufferBuilder& table, bool more) const {
  const auto flags =
      static_cast<std::uint16_t>(wire::kFrameAnswer | (more ? wire::kFrameMoreParts : 0));
  connection_->send(head_, flags, table, {}, {});
}

void RequestTicket::answer(const flatbuffers::FlatBufferBuilder& table,
                           std::vector<SharedBytes> pieces, std::vector<BudgetHold> holds) const {
  connection_->send(head_, wire::kFrameAnswer, table, std::move(pieces), std::move(holds));
}

void RequestTicket::fail(const Error& error) const {
  Shard& shard = connection_->shard();
  if (RequestMetrics* api = shard.metrics().request(static_cast<std::uint16_t>(head_.api))) {
    api->errors.add();
  }
  flatbuffers::FlatBufferBuilder& table = shard.builder();
  const auto status = error_status(table, error);
  table.Finish(fb::CreateAnyAnswer(table, status));
  answer(table);
}

void RequestTicket::settle() {
  if (connection_ == nullptr) return;
  hold_.release();
  Shard& shard = connection_->shard();
  if (RequestMetrics* api = shard.metrics().request(static_cast<std::uint16_t>(head_.api))) {
    api->latency.record(shard.executor().clock().now() - received_at_);
  }
  std::exchange(connection_, nullptr)->settled(bytes_);
}

ClientConnection::ClientConnection(Shard& shard, std::unique_ptr<wire::Connection> stream,
                                   std::uint64_t id)
    : shard_(shard),
      id_(id),
      stream_(std::move(stream)),
      peer_(stream_->peer()),
      local_(stream_->local()),
      reader_(shard.buffers()),
      sessions_(*this),
      opened_at_(shard.executor().clock().now()),
      last_activity_(opened_at_),
      send_window_at_(opened_at_) {}

ClientConnection::~ClientConnection() = default;

void ClientConnection::start() {
  look_by(opened_at_ + shard_.broker().limits.hello_timeout);
  receive();
}

void ClientConnection::greet(std::string client_name, std::size_t peer_frame_bytes_max) {
  greeted_ = true;
  client_name_ = std::move(client_name);
  peer_frame_bytes_max_ = peer_frame_bytes_max;
}

std::size_t ClientConnection::unsent_bytes() const { return stream_ ? stream_->unsent_bytes() : 0; }

bool ClientConnection::can_send() const {
  return unsent_bytes() < shard_.broker().limits.unsent_bytes_max;
}

void ClientConnection::receive() {
  if (receiving_ || stream_ == nullptr) return;
  receiving_ = true;
  if (reader_.inside_frame() && !frame_since_) {
    frame_since_ = now();
    look_by(frame_deadline());
  }
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
  return requests_in_flight_ >= limits.requests_in_flight_max ||
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
  // Only produce fills its budget; what else a client asks for is bounded by the limits of a
  // connection.
  if (prefix.api_key == static_cast<std::uint16_t>(wire::ApiKey::kProduce)) {
    next_hold_ = shard_.broker().produce_budget.take(prefix.frame_bytes);
    if (!next_hold_) {
      if (!std::exchange(waits_for_budget_, true)) {
        shard_.wait_for_produce_budget(shared_from_this());
      }
      return false;
    }
  }
  reader_.admit();
  return true;
}

void ClientConnection::budget_freed() {
  waits_for_budget_ = false;
  advance();
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
  broker::dispatch(shard_, RequestTicket(shared_from_this(), head, bytes, std::move(next_hold_)),
                   std::move(frame));
}

void ClientConnection::settled(std::size_t bytes) {
  --requests_in_flight_;
  shard_.metrics().requests_in_flight.subtract();
  bytes_in_flight_ -= bytes;
  if (stream_ == nullptr) return;
  last_activity_ = now();
  if (requests_in_flight_ == 0) look_by(last_activity_ + shard_.broker().limits.idle_timeout);
  advance_later();
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

void ClientConnection::send_notice(std::uint8_t kind, const Error& reason) {
  flatbuffers::FlatBufferBuilder& table = shard_.builder();
  const auto status = error_status(table, reason);
  table.Finish(fb::CreateNotice(table, static_cast<fb::NoticeKind>(kind), status));
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
  send_notice(static_cast<std::uint8_t>(fb::NoticeKind::Closing), reason);
  close(kNoticeDeadline);
}

void ClientConnection::drain() {
  if (!is_open()) return;
  draining_ = true;
  send_notice(static_cast<std::uint8_t>(fb::NoticeKind::Draining),
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
  shard_.executor().cancel(std::exchange(watch_, 0));
  sessions_.close_all();
  next_hold_.release();
  shard_.connection_gone(id_);
}

SteadyTime ClientConnection::now() const { return shard_.executor().clock().now(); }

SteadyTime ClientConnection::frame_deadline() const {
  return *frame_since_ + shard_.broker().limits.frame_grace +
         std::chrono::milliseconds(reader_.frame_bytes() * 1000 / wire::kFrameBytesPerSecondMin);
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
  if (requests_in_flight_ == 0) {
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
