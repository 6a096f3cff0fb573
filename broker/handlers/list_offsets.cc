#include <fmt/format.h>

#include <optional>
#include <vector>

#include "broker/calls.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

constexpr std::int64_t kLatest = -1;
constexpr std::int64_t kEarliest = -2;

struct Found {
  Offset offset{-1};
  LeaderEpoch epoch{-1};
};

class ListOffsetsCall final : public Call {
 public:
  struct Entry {
    TopicPartition id;
    std::int64_t timestamp_ms;
    Result<Found> result = Found{};
  };

  ListOffsetsCall(Shard& shard, RequestTicket ticket) : shard_(shard), ticket_(std::move(ticket)) {}

  std::vector<Entry>& entries() { return entries_; }

  void settle(std::size_t index, Result<Found> result) {
    entries_[index].result = std::move(result);
    if (++settled_ < entries_.size()) return;
    flatbuffers::FlatBufferBuilder& to = shard_.builder();
    std::vector<flatbuffers::Offset<fb::ListOffsetsResult>> results;
    results.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      const fb::Uuid topic = uuid(entry.id.topic);
      flatbuffers::Offset<fb::Status> status;
      if (!entry.result) {
        status = one_of_many_errors(to, ticket_.connection(), entry.result.error());
      }
      const Found found = entry.result ? *entry.result : Found{};
      results.push_back(fb::CreateListOffsetsResult(to, &topic, entry.id.partition.value(), status,
                                                    found.offset.value(), found.epoch.value()));
    }
    const auto status = ok_status(to);
    const auto listed = to.CreateVector(results);
    to.Finish(fb::CreateListOffsetsAnswer(to, status, listed));
    ticket_.answer(to);
    shard_.calls().remove(*this);  // destroys this
  }

 private:
  Shard& shard_;
  RequestTicket ticket_;
  std::vector<Entry> entries_;
  std::size_t settled_ = 0;
};

using FoundCallback = std::move_only_function<void(Result<Found>)>;

// On the owner's shard.
void look_up(Shard& owner, const TopicPartition& id, std::int64_t timestamp_ms,
             FoundCallback done) {
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
        done(Found{.offset = (*match)->base_offset, .epoch = (*match)->epoch});
      });
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
  ticket.add_bytes(count * sizeof(ListOffsetsCall::Entry));
  auto& call = shard.calls().add<ListOffsetsCall>(shard, std::move(ticket));
  call.entries().reserve(count);
  for (const fb::ListOffsetsEntry* entry : *request->entries()) {
    call.entries().push_back({.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())},
                              .timestamp_ms = entry->timestamp_ms()});
  }
  // The last entry to settle ends the call.
  for (std::size_t i = 0; i < count; ++i) {
    const ListOffsetsCall::Entry& entry = call.entries()[i];
    const TopicPartition id = entry.id;
    shard.router().send(
        shard.router().owner_of(id), [home = shard.index(), call = &call, i, id,
                                      timestamp_ms = entry.timestamp_ms](Shard* owner) {
          look_up(*owner, id, timestamp_ms, [owner, home, call, i](Result<Found> found) {
            owner->router().send(home, [call, i, found = std::move(found)](Shard*) mutable {
              call->settle(i, std::move(found));
            });
          });
        });
  }
}

}  // namespace tidelog::broker
