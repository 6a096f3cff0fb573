#include "broker/request_ticket.h"

#include <fmt/format.h>

#include <utility>

#include "broker/connection.h"
#include "broker/handlers/answers.h"
#include "broker/metrics.h"
#include "broker/shard.h"

namespace tidelog::broker {

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

Result<> RequestTicket::reserve(std::size_t bytes) {
  if (bytes > kSmallRequestBytesMax) {
    BrokerContext& broker = connection_->shard().broker();
    hold_ = broker.control_budget.take_if_room(bytes);
    if (!hold_) {
      return tidelog::fail(
          ErrorCode::kOverloaded,
          fmt::format("broker {} has no memory left for so large a request", broker.id.value()));
    }
  }
  bytes_ += bytes;
  connection_->bytes_in_flight_ += bytes;
  return {};
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

}  // namespace tidelog::broker
