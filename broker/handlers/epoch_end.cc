// Epoch end: where a leader epoch ends in this log, so that a reader finds back to where it agrees.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "broker/handlers/handlers.h"
#include "broker/handlers/lookups.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

struct Found {
  LeaderEpoch epoch{-1};
  Offset end{-1};
  LeaderEpoch leader_epoch{-1};
};
using EpochEnds = Lookups<LeaderEpoch, Found>;

// On the owner's shard.
void look_up(Shard& owner, const TopicPartition& id, LeaderEpoch epoch, EpochEnds::Done done) {
  Partition* partition = owner.topics().find(id);
  if (partition == nullptr) return done(fail(owner.topics().not_served(id)));
  const Result<Offset> readable = partition->replica->readable_end();
  if (!readable) return done(fail(owner.topics().located(id, readable.error())));
  const log::PartitionLog::EpochEnd end = partition->log->epoch_end(epoch);
  // What is not committed yet nobody has read.
  done(Found{.epoch = end.epoch,
             .end = std::min(end.end, *readable),
             .leader_epoch = partition->replica->leader_epoch()});
}

void write(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
           const std::vector<EpochEnds::Entry>& entries) {
  std::vector<flatbuffers::Offset<fb::EpochEndResult>> results;
  results.reserve(entries.size());
  for (const EpochEnds::Entry& entry : entries) {
    const fb::Uuid topic = uuid(entry.id.topic);
    flatbuffers::Offset<fb::Status> status;
    if (!entry.found) status = one_of_many_errors(to, peer, entry.id, entry.found.error());
    const Found found = entry.found ? *entry.found : Found{};
    results.push_back(fb::CreateEpochEndResult(to, &topic, entry.id.partition.value(), status,
                                               found.epoch.value(), found.end.value(),
                                               found.leader_epoch.value()));
  }
  const auto status = ok_status(to);
  const auto listed = to.CreateVector(results);
  to.Finish(fb::CreateEpochEndAnswer(to, status, listed));
}

}  // namespace

void handle_epoch_end(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::EpochEndRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::size_t count = request->entries() != nullptr ? request->entries()->size() : 0;
  if (count == 0 || count > wire::kPartitionsPerRequestMax) {
    return ticket.fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("epoch_end has 1 to {} entries, not {}",
                                                       wire::kPartitionsPerRequestMax, count)));
  }
  std::vector<EpochEnds::Entry> entries;
  entries.reserve(count);
  for (const fb::EpochEndEntry* entry : *request->entries()) {
    entries.push_back({.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())},
                       .asked = LeaderEpoch(entry->epoch())});
  }
  EpochEnds::start(shard, std::move(ticket), std::move(entries), look_up, write);
}

}  // namespace tidelog::broker
