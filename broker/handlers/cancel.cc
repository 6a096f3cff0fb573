// Cancel: a request of the same connection that waits stops waiting.
#include <fmt/format.h>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {

void handle_cancel(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::CancelRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::uint64_t correlation = request->correlation();
  bool found = ticket.connection().sessions().cancel(correlation);
  if (!found) {
    // Changes of topics go on; only nobody waits for them any more.
    const RequestTicket waiting = shard.take_kept(ticket.connection(), correlation);
    found = static_cast<bool>(waiting);
    if (found) {
      waiting.fail(Error(ErrorCode::kCancelled,
                         fmt::format("broker {}: the request was cancelled and goes on",
                                     shard.broker().id.value())));
    }
  }
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  const auto status = ok_status(to);
  to.Finish(fb::CreateCancelAnswer(to, status, found));
  ticket.answer(to);
}

}  // namespace tidelog::broker
