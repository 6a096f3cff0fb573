#include <fmt/format.h>

#include <vector>

#include "broker/calls.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

constexpr std::int64_t kToHighWatermark = -1;

class DeleteRecordsCall final : public Call {
 public:
  struct Entry {
    TopicPartition id;
    std::int64_t offset;
    Result<Offset> start = Offset(-1);  // of the log, afterwards
  };

  DeleteRecordsCall(Shard& shard, RequestTicket ticket)
      : shard_(shard), ticket_(std::move(ticket)) {}

  std::vector<Entry>& entries() { return entries_; }

  void settle(std::size_t index, Result<Offset> start) {
    entries_[index].start = std::move(start);
    if (++settled_ < entries_.size()) return;
    flatbuffers::FlatBufferBuilder& to = shard_.builder();
    std::vector<flatbuffers::Offset<fb::DeleteRecordsResult>> results;
    results.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      const fb::Uuid topic = uuid(entry.id.topic);
      flatbuffers::Offset<fb::Status> status;
      if (!entry.start) status = error_status(to, entry.start.error());
      results.push_back(fb::CreateDeleteRecordsResult(to, &topic, entry.id.partition.value(),
                                                      status,
                                                      entry.start.value_or(Offset(-1)).value()));
    }
    const auto status = ok_status(to);
    const auto listed = to.CreateVector(results);
    to.Finish(fb::CreateDeleteRecordsAnswer(to, status, listed));
    ticket_.answer(to);
    shard_.calls().remove(*this);  // destroys this
  }

 private:
  Shard& shard_;
  RequestTicket ticket_;
  std::vector<Entry> entries_;
  std::size_t settled_ = 0;
};

using TrimmedCallback = std::move_only_function<void(Result<Offset>)>;

// On the owner's shard. What is not committed stays: another leader might still drop it.
void trim(Shard& owner, const TopicPartition& id, std::int64_t asked, TrimmedCallback done) {
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

}  // namespace

void handle_delete_records(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::DeleteRecordsRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::size_t count = request->entries() != nullptr ? request->entries()->size() : 0;
  if (count == 0 || count > wire::kPartitionsPerRequestMax) {
    return ticket.fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("delete_records has 1 to {} entries, not {}",
                                                       wire::kPartitionsPerRequestMax, count)));
  }
  for (const fb::DeleteRecordsEntry* entry : *request->entries()) {
    if (entry->offset() >= kToHighWatermark) continue;
    return ticket.fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("offset {} means nothing: -1 is the high watermark", entry->offset())));
  }
  auto& call = shard.calls().add<DeleteRecordsCall>(shard, std::move(ticket));
  call.entries().reserve(count);
  for (const fb::DeleteRecordsEntry* entry : *request->entries()) {
    call.entries().push_back({.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())},
                              .offset = entry->offset()});
  }
  // The last entry to settle ends the call.
  for (std::size_t i = 0; i < count; ++i) {
    const TopicPartition id = call.entries()[i].id;
    shard.router().send(
        shard.router().owner_of(id), [home = shard.index(), call = &call, i, id,
                                      offset = call.entries()[i].offset](Shard* owner) {
          trim(*owner, id, offset, [owner, home, call, i](Result<Offset> start) {
            owner->router().send(home, [call, i, start = std::move(start)](Shard*) mutable {
              call->settle(i, std::move(start));
            });
          });
        });
  }
}

}  // namespace tidelog::broker
