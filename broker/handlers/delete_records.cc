#include <fmt/format.h>

#include <vector>

#include "broker/handlers/handlers.h"
#include "broker/handlers/lookups.h"
#include "broker/partition_hash.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

constexpr std::int64_t kToHighWatermark = -1;

// Of an offset: the start of the log, afterwards.
using Trims = Lookups<std::int64_t, Offset>;

// On the owner's shard. What is not committed stays: another leader might still drop it.
void trim(Shard& owner, const TopicPartition& id, std::int64_t asked, Trims::Done done) {
  Partition* partition = owner.topics().find(id);
  if (partition == nullptr) return done(fail(owner.topics().not_served(id)));
  const Result<Offset> end = partition->replica->readable_end();
  if (!end) return done(fail(owner.topics().located(id, end.error())));
  const Offset offset = asked == kToHighWatermark ? *end : Offset(asked);
  if (offset > *end) {
    return done(fail(owner.topics().located(
        id, Error(ErrorCode::kOffsetOutOfRange,
                  fmt::format("records before {} cannot be deleted: the high watermark is {}",
                              offset.value(), end->value())))));
  }
  partition->log->trim(offset, [&owner, id, done = std::move(done)](Result<> trimmed) mutable {
    if (!trimmed) return done(fail(owner.topics().located(id, trimmed.error())));
    const Partition* found = owner.topics().find(id);
    if (found == nullptr) return done(fail(owner.topics().not_served(id)));
    done(found->log->log_start());
  });
}

void write(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
           const std::vector<Trims::Entry>& entries) {
  std::vector<flatbuffers::Offset<fb::DeleteRecordsResult>> results;
  results.reserve(entries.size());
  for (const Trims::Entry& entry : entries) {
    const fb::Uuid topic = uuid(entry.id.topic);
    flatbuffers::Offset<fb::Status> status;
    if (!entry.found) status = one_of_many_errors(to, peer, entry.id, entry.found.error());
    results.push_back(fb::CreateDeleteRecordsResult(to, &topic, entry.id.partition.value(), status,
                                                    entry.found.value_or(Offset(-1)).value()));
  }
  const auto status = ok_status(to);
  const auto listed = to.CreateVector(results);
  to.Finish(fb::CreateDeleteRecordsAnswer(to, status, listed));
}

// Each partition once: a trim is a write to its log.
Result<> check(const fb::DeleteRecordsRequest& request) {
  const std::size_t count = request.entries() != nullptr ? request.entries()->size() : 0;
  if (count == 0 || count > wire::kPartitionsPerRequestMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("delete_records has 1 to {} entries, not {}",
                            wire::kPartitionsPerRequestMax, count));
  }
  PartitionSet named;
  named.reserve(count);
  for (const fb::DeleteRecordsEntry* entry : *request.entries()) {
    if (entry->offset() < kToHighWatermark) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("offset {} means nothing: -1 is the high watermark", entry->offset()));
    }
    const TopicPartition id{topic_id(entry->topic()), PartitionIndex(entry->partition())};
    if (named.insert(id).second) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("delete_records names {} more than once", id.to_string()));
  }
  return {};
}

}  // namespace

void handle_delete_records(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::DeleteRecordsRequest>(frame, ticket);
  if (request == nullptr) return;
  if (const Result<> sound = check(*request); !sound) return ticket.fail(sound.error());
  std::vector<Trims::Entry> entries;
  entries.reserve(request->entries()->size());
  for (const fb::DeleteRecordsEntry* entry : *request->entries()) {
    entries.push_back({.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())},
                       .asked = entry->offset(),
                       .found = Offset(-1)});
  }
  Trims::start(shard, std::move(ticket), std::move(entries), trim, write);
}

}  // namespace tidelog::broker
