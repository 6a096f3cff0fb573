#include "client/inquiry.h"

#include <utility>

namespace tidelog::client_core {

Inquiry::Inquiry(Executor& executor, BrokerPool& pool, wire::ApiKey api, std::string missing,
                 Options options, std::uint64_t seed)
    : executor_(executor),
      pool_(pool),
      api_(api),
      missing_(std::move(missing)),
      options_(options),
      backoff_(options.backoff_min, options.backoff_max, seed) {}

Inquiry::~Inquiry() { executor_.cancel(timer_); }

void Inquiry::ask() {
  wanted_ = true;
  advance();
}

void Inquiry::advance() {
  if (!wanted_ || under_way_ || timer_ != 0) return;
  const SteadyTime now = executor_.clock().now();
  if (last_sent_ && now - *last_sent_ < options_.interval_min) {
    return wait(*last_sent_ + options_.interval_min - now);
  }
  Connection* connection = pool_.find_any();
  if (connection == nullptr) return;
  wanted_ = false;
  const std::optional<Table> request = compose_();
  if (!request) return;
  under_way_ = true;
  last_sent_ = now;
  connection->call(
      api_, *request, {}, options_.request_timeout,
      [this, alive = std::weak_ptr<int>(alive_)](const std::expected<Answer, CallFailure>& answer) {
        if (!alive.expired()) answered(answer);
      });
}

void Inquiry::answered(const std::expected<Answer, CallFailure>& answer) {
  under_way_ = false;
  if (!answer) return failed(answer.error().error);  // which the pool told
  trouble_.reset();
  const Result<> taken = take_(answer->table);
  if (!taken) {
    failed(taken.error());
    return pool_.log(trouble_->message());
  }
  backoff_.reset();
  advance();
}

void Inquiry::failed(const Error& error) {
  trouble_ = error.with_context(missing_);
  wanted_ = true;
  if (timer_ == 0) wait(backoff_.next());
}

void Inquiry::wait(std::chrono::microseconds time) {
  timer_ = executor_.run_after(time, [this] {
    timer_ = 0;
    advance();
  });
}

}  // namespace tidelog::client_core
