// What the handlers of changes to topics share. Included by handlers only.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>

#include "broker/handlers/answers.h"
#include "broker/handlers/named_settings.h"
#include "broker/shard.h"

namespace tidelog::broker {

inline Error of_broker(Shard& shard, const Error& error) {
  return error.with_context(fmt::format("broker {}", shard.broker().id.value()));
}

// Keeps the ticket of a change; after its deadline it is answered with TIMED_OUT.
inline std::uint64_t keep_until(Shard& shard, RequestTicket ticket, std::uint32_t deadline_ms,
                                std::string what) {
  if (deadline_ms == 0) return shard.keep(std::move(ticket));
  return shard.keep(
      std::move(ticket), std::chrono::milliseconds(deadline_ms),
      [&shard, what = std::move(what)](const RequestTicket& late) {
        late.fail(Error(ErrorCode::kTimedOut,
                        fmt::format("broker {}: {} has not ended within the deadline and goes on",
                                    shard.broker().id.value(), what)));
      });
}

// What runs when a change has ended: `finish` makes the answer's table, of success.
template <typename Finish>
ControlPlane::DoneCallback answer_kept(Shard& shard, std::uint64_t kept, Finish finish) {
  return [&shard, kept, finish](Result<> changed) {
    const RequestTicket waiting = shard.take_kept(kept);
    if (!waiting) return;
    if (!changed) return waiting.fail(of_broker(shard, changed.error()));
    flatbuffers::FlatBufferBuilder& to = shard.builder();
    finish(to);
    waiting.answer(to);
  };
}

}  // namespace tidelog::broker
