#include "client/producer/identity.h"

#include <fmt/format.h>

#include <utility>

namespace tidelog::client_core {

Identity::Identity(Executor& executor, BrokerPool& pool, Options options, std::uint64_t seed)
    : executor_(executor),
      pool_(pool),
      options_(options),
      backoff_(options.backoff_min, options.backoff_max, seed) {}

Identity::~Identity() { executor_.cancel(timer_); }

void Identity::want() {
  if (id_) return;
  wanted_ = true;
  advance();
}

void Identity::retire(ProducerId used) {
  if (id_ == used) id_.reset();
}

void Identity::advance() {
  if (!wanted_ || in_flight_ || timer_ != 0) return;
  Connection* connection = pool_.find_any();
  if (connection == nullptr) return;
  in_flight_ = true;
  connection->call(
      wire::ApiKey::kInitProducerId, encode_init_producer_id(), {}, options_.request_timeout,
      [this, alive = std::weak_ptr<int>(alive_)](const std::expected<Answer, CallFailure>& answer) {
        if (!alive.expired()) answered(answer);
      });
}

void Identity::answered(const std::expected<Answer, CallFailure>& answer) {
  in_flight_ = false;
  if (!answer) return failed(answer.error().error);
  const Result<InitProducerIdAnswer> decoded = decode_init_producer_id(answer->table.bytes());
  if (!decoded) return failed(decoded.error());
  if (!decoded->status.ok()) return failed(decoded->status.error());
  wanted_ = false;
  trouble_.reset();
  backoff_.reset();
  id_ = decoded->id;
  if (arrived_) arrived_();
}

void Identity::failed(const Error& error) {
  trouble_ = error.with_context("no producer id");
  timer_ = executor_.run_after(backoff_.next(), [this] {
    timer_ = 0;
    advance();
  });
  pool_.log(trouble_->message());
}

}  // namespace tidelog::client_core
