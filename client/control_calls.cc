#include "client/control_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tidelog::client_core {
namespace {

// How much longer than its caller a connection waits for an answer: one that the broker gives
// because the call was cancelled is no reason to end what others wait for there.
constexpr std::chrono::seconds kCancelPatience{5};

}  // namespace

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

void ControlCalls::call(wire::ApiKey api, Table request, std::chrono::milliseconds timeout,
                        Callback done) {
  const At at = waiting_.insert(waiting_.end(), Waiting{.api = api,
                                                        .request = std::move(request),
                                                        .timeout = timeout,
                                                        .rounds_at_start = pool_.rounds_failed(),
                                                        .done = std::move(done),
                                                        .sent_to = {}});
  at->timer = executor_.run_after(timeout, [this, at] { time_out(at); });
  advance();
}

void ControlCalls::time_out(At at) {
  if (at->sent_to.empty()) return finish(at, fail(unreachable(pool_)));
  if (Connection* connection = pool_.find_by_serial(at->serial)) connection->cancel(at->id);
  finish(at, fail(ErrorCode::kTimedOut,
                  fmt::format("{} did not answer within {} ms", at->sent_to, at->timeout.count())));
}

void ControlCalls::cancel_all(const Error& reason) {
  while (!waiting_.empty()) finish(waiting_.begin(), fail(reason));
}

ControlCalls::At ControlCalls::next_unsent() {
  return std::ranges::find_if(waiting_,
                              [](const Waiting& waiting) { return waiting.sent_to.empty(); });
}

void ControlCalls::advance() {
  for (At at = next_unsent(); at != waiting_.end(); at = next_unsent()) {
    Connection* connection = pool_.find_any();
    if (connection == nullptr) break;
    send(*connection, at);
  }
  const std::weak_ptr<int> alive = alive_;
  for (At at = next_unsent();
       at != waiting_.end() && pool_.rounds_failed() >= at->rounds_at_start + kRoundsMax;
       at = next_unsent()) {
    finish(at, fail(unreachable(pool_)));
    if (alive.expired()) return;
  }
}

void ControlCalls::send(Connection& connection, At at) {
  at->sent_to = connection.name();
  at->serial = connection.serial();
  // The connection gives it all the time there is: who waits here has less by what it took to get
  // there, but that is no reason to end what others wait for on it.
  at->id = connection.call(
      at->api, at->request, {}, at->timeout + kCancelPatience,
      [this, at, alive = std::weak_ptr<int>(at->alive)](std::expected<Answer, CallFailure> answer) {
        if (alive.expired()) return;
        if (!answer) return finish(at, fail(answer.error().error));
        finish(at, std::move(answer->table));
      });
}

void ControlCalls::finish(At at, Result<SharedBytes> result) {
  executor_.cancel(at->timer);
  Callback done = std::move(at->done);
  waiting_.erase(at);
  done(std::move(result));
}

}  // namespace tidelog::client_core
