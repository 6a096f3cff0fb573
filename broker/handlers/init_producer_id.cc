// Init producer id: the control thread gives an id that nobody ever had; the ticket waits on its
// shard meanwhile.
#include <fmt/format.h>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {

void handle_init_producer_id(Shard& shard, RequestTicket ticket, Frame frame) {
  if (request_table<fb::InitProducerIdRequest>(frame, ticket) == nullptr) return;
  const std::uint64_t kept = shard.keep(std::move(ticket));
  shard.broker().control->allocate_producer_id(
      shard.executor(), [&shard, kept](Result<ProducerId> id) {
        const RequestTicket waiting = shard.take_kept(kept);
        if (!waiting) return;
        if (!id) {
          return waiting.fail(
              id.error().with_context(fmt::format("broker {}", shard.broker().id.value())));
        }
        flatbuffers::FlatBufferBuilder& to = shard.builder();
        const auto status = ok_status(to);
        to.Finish(fb::CreateInitProducerIdAnswer(to, status, id->value(), 0));
        waiting.answer(to);
      });
}

}  // namespace tidelog::broker
