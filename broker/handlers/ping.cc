#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {

void handle_ping(Shard& shard, RequestTicket ticket, Frame frame) {
  if (request_table<fb::PingRequest>(frame, ticket) == nullptr) return;
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  const auto status = ok_status(to);
  to.Finish(fb::CreatePingAnswer(to, status, shard.executor().clock().wall_us() / 1000));
  ticket.answer(to);
}

}  // namespace tidelog::broker
