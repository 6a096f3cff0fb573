#include "broker/handlers/handlers.h"
#include "broker/handlers/topic_calls.h"

namespace tidelog::broker {

void handle_add_partitions(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::AddPartitionsRequest>(frame, ticket);
  if (request == nullptr) return;
  std::string name = text(request->name());
  if (shard.topics().view()->find(name) == nullptr) {
    return ticket.fail(shard.topics().unknown_topic(name));
  }
  const std::uint64_t kept =
      keep_until(shard, std::move(ticket), request->deadline_ms(),
                 fmt::format("the growth of topic '{}' to {} partitions", name, request->total()));
  shard.broker().control->add_partitions(
      std::move(name), request->total(), shard.executor(),
      answer_kept(shard, kept, [](flatbuffers::FlatBufferBuilder& to) {
        const auto status = ok_status(to);
        to.Finish(fb::CreateAddPartitionsAnswer(to, status));
      }));
}

}  // namespace tidelog::broker
