#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "broker/handlers/handlers.h"
#include "broker/handlers/lookups.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

constexpr std::int64_t kLatest = -1;
constexpr std::int64_t kEarliest = -2;

struct Found {
  Offset offset{-1};
  LeaderEpoch epoch{-1};
};

using ListedOffsets = Lookups<std::int64_t, Found>;

// On the owner's shard.
void look_up(Shard& owner, const TopicPartition& id, std::int64_t timestamp_ms,
             ListedOffsets::Done done) {
  Partition* partition = owner.topics().find(id);
  if (partition == nullptr) return done(fail(owner.topics().not_served(id)));
  const replication::Replica& replica = *partition->replica;
  if (timestamp_ms == kEarliest) {
    return done(Found{.offset = partition->log->log_start(), .epoch = replica.leader_epoch()});
  }
  const Result<Offset> end = replica.readable_end();
  if (!end) return done(fail(owner.topics().located(id, end.error())));
  if (timestamp_ms == kLatest) {
    return done(Found{.offset = *end, .epoch = replica.leader_epoch()});
  }
  using Match = std::optional<log::PartitionLog::TimestampMatch>;
  partition->log->find_timestamp(
      timestamp_ms, *end, [&owner, id, done = std::move(done)](Result<Match> match) mutable {
        if (!match) return done(fail(owner.topics().located(id, match.error())));
        if (!*match) return done(Found{});
        Partition* served = owner.topics().find(id);
        if (served == nullptr) return done(fail(owner.topics().not_served(id)));
        // A batch may begin before the log's start, where nothing can be fetched from.
        const Offset from = std::max((*match)->base_offset, served->log->log_start());
        done(Found{.offset = from, .epoch = (*match)->epoch});
      });
}

void write(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
           const std::vector<ListedOffsets::Entry>& entries) {
  std::vector<flatbuffers::Offset<fb::ListOffsetsResult>> results;
  results.reserve(entries.size());
  for (const ListedOffsets::Entry& entry : entries) {
    const fb::Uuid topic = uuid(entry.id.topic);
    flatbuffers::Offset<fb::Status> status;
    if (!entry.found) status = one_of_many_errors(to, peer, entry.id, entry.found.error());
    const Found found = entry.found ? *entry.found : Found{};
    results.push_back(fb::CreateListOffsetsResult(to, &topic, entry.id.partition.value(), status,
                                                  found.offset.value(), found.epoch.value()));
  }
  const auto status = ok_status(to);
  const auto listed = to.CreateVector(results);
  to.Finish(fb::CreateListOffsetsAnswer(to, status, listed));
}

}  // namespace

void handle_list_offsets(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::ListOffsetsRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::size_t count = request->entries() != nullptr ? request->entries()->size() : 0;
  if (count == 0 || count > wire::kPartitionsPerRequestMax) {
    return ticket.fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("list_offsets has 1 to {} entries, not {}",
                                                       wire::kPartitionsPerRequestMax, count)));
  }
  for (const fb::ListOffsetsEntry* entry : *request->entries()) {
    if (entry->timestamp_ms() >= kEarliest) continue;
    return ticket.fail(Error(ErrorCode::kInvalidArgument,
                             fmt::format("timestamp {} means nothing: -1 is latest, -2 earliest",
                                         entry->timestamp_ms())));
  }
  std::vector<ListedOffsets::Entry> entries;
  entries.reserve(count);
  for (const fb::ListOffsetsEntry* entry : *request->entries()) {
    entries.push_back({.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())},
                       .asked = entry->timestamp_ms()});
  }
  ListedOffsets::start(shard, std::move(ticket), std::move(entries), look_up, write,
                       [](std::int64_t timestamp_ms) { return timestamp_ms >= 0; });
}

}  // namespace tidelog::broker
