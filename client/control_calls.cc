#include "client/control_calls.h"

#include <fmt/format.h>

#include <utility>

namespace tidelog::client_core {

Error unreachable(const BrokerPool& pool) {
  const std::optional<Error>& last = pool.last_failure();
  if (last && !last->retriable()) return last->with_context("no broker could be used");
  return Error(ErrorCode::kConnectionFailed,
               last ? fmt::format("no broker could be reached: {}", last->message())
                    : "no broker could be reached in time");
}

ControlCalls::~ControlCalls() {
  for (const Waiting& waiting : waiting_) executor_.cancel(waiting.timer);
}

void ControlCalls::call(wire::ApiKey api, Table request, Callback done) {
  const auto at = waiting_.insert(
      waiting_.end(), Waiting{api, std::move(request), pool_.rounds_failed(), 0, std::move(done)});
  at->timer = executor_.run_after(timeout_, [this, at] {
    at->timer = 0;
    give_up(at);
  });
  advance();
}

void ControlCalls::advance() {
  while (!waiting_.empty()) {
    Connection* connection = pool_.find_any();
    if (connection == nullptr) break;
    Waiting first = std::move(waiting_.front());
    waiting_.pop_front();
    executor_.cancel(first.timer);
    send(*connection, std::move(first));
  }
  const std::weak_ptr<int> alive = alive_;
  while (!waiting_.empty() &&
         pool_.rounds_failed() >= waiting_.front().rounds_at_start + kRoundsMax) {
    give_up(waiting_.begin());
    if (alive.expired()) return;
  }
}

void ControlCalls::send(Connection& connection, Waiting waiting) {
  connection.call(waiting.api, waiting.request, {}, timeout_,
                  [done = std::move(waiting.done), alive = std::weak_ptr<int>(alive_)](
                      std::expected<Answer, CallFailure> answer) mutable {
                    if (alive.expired()) return;
                    if (!answer) return done(fail(answer.error().error));
                    done(std::move(answer->table));
                  });
}

void ControlCalls::give_up(std::list<Waiting>::iterator at) {
  executor_.cancel(at->timer);
  Callback done = std::move(at->done);
  waiting_.erase(at);
  done(fail(unreachable(pool_)));
}

}  // namespace tidelog::client_core
