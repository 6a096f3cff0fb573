// Requests that any broker can answer, made by somebody who waits: tried as soon as there is a
// connection, given up with a clear error when there is none for a while.
//
// Thread: the pool's executor.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "client/broker_pool.h"

namespace tidelog::client_core {

class ControlCalls {
 public:
  // Rounds over all known addresses that may fail before the waiting calls do.
  static constexpr std::uint64_t kRoundsMax = 5;

  ControlCalls(Executor& executor, BrokerPool& pool) : executor_(executor), pool_(pool) {}
  ~ControlCalls();
  ControlCalls(const ControlCalls&) = delete;
  ControlCalls& operator=(const ControlCalls&) = delete;

  // The answer's table, or why there is none: kConnectionFailed (no broker could be reached),
  // kTimedOut (no answer within `timeout` of now; it is cancelled then), or what Connection::call()
  // fails with.
  using Callback = std::move_only_function<void(Result<SharedBytes>)>;
  void call(wire::ApiKey api, Table request, std::chrono::milliseconds timeout, Callback done);

  // Call when the pool changed.
  void advance();
  // Fails what is under way.
  void cancel_all(const Error& reason);

 private:
  struct Waiting {
    wire::ApiKey api;
    Table request;
    std::chrono::milliseconds timeout;
    std::uint64_t rounds_at_start;
    Callback done;
    std::string sent_to;        // empty: not sent yet
    std::uint64_t serial = 0;   // of the connection it was sent on
    Connection::CallId id = 0;  // there
    TimerId timer = 0;
    std::shared_ptr<int> alive = std::make_shared<int>();
  };
  using At = std::list<Waiting>::iterator;

  At next_unsent();
  void send(Connection& connection, At at);
  void time_out(At at);
  void finish(At at, Result<SharedBytes> result);

  Executor& executor_;
  BrokerPool& pool_;
  std::list<Waiting> waiting_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

// "no broker could be reached: ...", with the last cause.
Error unreachable(const BrokerPool& pool);

}  // namespace tidelog::client_core
