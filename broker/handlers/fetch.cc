#include <fmt/format.h>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "wire/limits.h"

namespace tidelog::broker {

void handle_fetch(Shard&, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::FetchRequest>(frame, ticket);
  if (request == nullptr) return;
  FetchOrder order;
  order.session = request->session();
  order.min_bytes = request->min_bytes();
  order.bytes_max = request->bytes_max();
  order.max_wait = std::chrono::milliseconds(request->max_wait_ms());
  order.close_session = request->close_session();
  const std::size_t changed = request->changed() != nullptr ? request->changed()->size() : 0;
  const std::size_t forgotten = request->forgotten() != nullptr ? request->forgotten()->size() : 0;
  if (changed > wire::kPartitionsPerRequestMax || forgotten > wire::kPartitionsPerRequestMax) {
    return ticket.fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("a fetch names at most {} partitions, not {}",
                          wire::kPartitionsPerRequestMax, std::max(changed, forgotten))));
  }
  order.changed.reserve(changed);
  for (std::size_t i = 0; i < changed; ++i) {
    const fb::FetchPartition* partition =
        request->changed()->Get(static_cast<flatbuffers::uoffset_t>(i));
    order.changed.push_back(
        {.id = {topic_id(partition->topic()), PartitionIndex(partition->partition())},
         .offset = Offset(partition->offset()),
         .last_epoch = LeaderEpoch(partition->last_epoch()),
         .current_leader_epoch = LeaderEpoch(partition->current_leader_epoch()),
         .bytes_max = partition->bytes_max()});
  }
  order.forgotten.reserve(forgotten);
  for (std::size_t i = 0; i < forgotten; ++i) {
    const fb::ForgottenPartition* partition =
        request->forgotten()->Get(static_cast<flatbuffers::uoffset_t>(i));
    order.forgotten.push_back(
        {topic_id(partition->topic()), PartitionIndex(partition->partition())});
  }
  FetchSessions& sessions = ticket.connection().sessions();
  sessions.fetch(std::move(order), std::move(ticket));
}

void write_fetch_answer(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
                        std::uint64_t session, const std::vector<FetchChunk>& chunks) {
  std::vector<flatbuffers::Offset<fb::FetchResult>> results;
  results.reserve(chunks.size());
  for (const FetchChunk& chunk : chunks) {
    flatbuffers::Offset<fb::Status> status;
    if (chunk.error) status = partition_error_status(to, peer, chunk.id, *chunk.error);
    const fb::Uuid topic = uuid(chunk.id.topic);
    fb::FetchResultBuilder result(to);
    result.add_topic(&topic);
    result.add_partition(chunk.id.partition.value());
    if (chunk.error) result.add_status(status);
    result.add_start_offset(chunk.start_offset.value());
    result.add_high_watermark(chunk.high_watermark.value());
    result.add_last_stable_offset(chunk.high_watermark.value());
    if (chunk.diverging) {
      result.add_diverging_epoch(chunk.diverging->epoch.value());
      result.add_diverging_offset(chunk.diverging->end.value());
    }
    if (chunk.sound_offset) result.add_sound_offset(chunk.sound_offset->value());
    result.add_next_offset(chunk.next_offset.value());
    result.add_bytes(static_cast<std::uint32_t>(chunk.bytes));
    results.push_back(result.Finish());
  }
  const auto status = ok_status(to, peer.throttle_out_ms());
  const auto listed = to.CreateVector(results);
  to.Finish(fb::CreateFetchAnswer(to, status, session, listed));
}

}  // namespace tidelog::broker
