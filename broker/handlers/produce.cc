// Produce: every batch is verified here, on the connection's shard, and appended on its owner's.
// Each entry settles by itself; what settles in one turn travels in one part of the answer.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/logging.h"
#include "broker/calls.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"
#include "wire/record_batch.h"

namespace tidelog::broker {
namespace {

using replication::Acks;
using replication::ProduceOutcome;

class ProduceCall final : public Call {
 public:
  struct Entry {
    TopicPartition id;
    std::optional<Result<ProduceOutcome>> result;
    bool answered = false;
  };

  ProduceCall(Shard& shard, RequestTicket ticket, Acks acks)
      : shard_(shard), ticket_(std::move(ticket)), acks_(acks) {}

  std::vector<Entry>& entries() { return entries_; }
  Acks acks() const { return acks_; }
  // Every entry has been handed over; from now on the call may be answered, and gone.
  void all_started() {
    started_ = true;
    report();
  }

  void settle(std::size_t index, Result<ProduceOutcome> result) {
    Entry& entry = entries_[index];
    ++settled_;
    // Past its deadline an entry was answered already.
    if (!entry.result) entry.result = std::move(result);
    if (started_) report();
  }

  void deadline_passed() override {
    for (Entry& entry : entries_) {
      if (entry.result) continue;
      entry.result = fail(shard_.topics().located(
          entry.id, Error(ErrorCode::kUnknownOutcome,
                          "the records were not committed within the request's deadline; "
                          "they may be later")));
    }
    answer(/*more=*/false);
    ticket_ = RequestTicket();
  }

  void end_of_turn() override {
    if (ticket_) answer(/*more=*/true);
  }

 private:
  void report() {
    if (settled_ < entries_.size()) {
      shard_.calls().call_at_end_of_turn(*this);
      return;
    }
    if (ticket_) answer(/*more=*/false);
    shard_.calls().remove(*this);  // destroys this
  }

  void answer(bool more);

  Shard& shard_;
  RequestTicket ticket_;
  const Acks acks_;
  std::vector<Entry> entries_;
  std::size_t settled_ = 0;
  bool started_ = false;
};

flatbuffers::Offset<fb::ProduceResult> write_result(flatbuffers::FlatBufferBuilder& to,
                                                    ClientConnection& peer,
                                                    const ProduceCall::Entry& entry) {
  const fb::Uuid topic = uuid(entry.id.topic);
  const Result<ProduceOutcome>& result = *entry.result;
  flatbuffers::Offset<fb::Status> status;
  if (!result) status = partition_error_status(to, peer, entry.id, result.error());
  fb::ProduceResultBuilder builder(to);
  builder.add_topic(&topic);
  builder.add_partition(entry.id.partition.value());
  if (result) {
    builder.add_base_offset(result->base_offset.value());
    builder.add_append_time_us(result->append_time_us);
    builder.add_start_offset(result->start_offset.value());
  } else {
    builder.add_status(status);
  }
  return builder.Finish();
}

void ProduceCall::answer(bool more) {
  if (acks_ == Acks::kNone) {
    for (const Entry& entry : entries_) {
      if (entry.result && !*entry.result) {
        log_debug(fmt::format("records sent with acks=none were refused: {}",
                              entry.result->error().to_string()));
      }
    }
    return;
  }
  flatbuffers::FlatBufferBuilder* to = &shard_.builder();
  std::vector<flatbuffers::Offset<fb::ProduceResult>> results;
  results.reserve(entries_.size());
  const auto send_part = [&](bool more_follow) {
    const auto status = ok_status(*to, ticket_.connection().throttle_in_ms());
    const auto listed = to->CreateVector(results);
    to->Finish(fb::CreateProduceAnswer(*to, status, listed));
    ticket_.answer(*to, more_follow);
  };
  const std::size_t part_bytes_max = answer_bytes_max(ticket_.connection()) / 2;
  for (Entry& entry : entries_) {
    if (!entry.result || entry.answered) continue;
    if (to->GetSize() > part_bytes_max) {
      send_part(/*more_follow=*/true);
      results.clear();
      to = &shard_.builder();
    }
    entry.answered = true;
    results.push_back(write_result(*to, ticket_.connection(), entry));
  }
  if (!more || !results.empty()) send_part(more);
}

// The batches of one entry: whole, sound, made for this partition, and nothing that only brokers
// set.
Result<> verify_batches(std::span<const std::byte> bytes, const TopicPartition& id,
                        std::size_t batch_bytes_max) {
  if (bytes.empty()) return fail(ErrorCode::kInvalidBatch, "the entry has no batch");
  const std::uint64_t seed = wire::batch_seed(id);
  while (!bytes.empty()) {
    TIDELOG_ASSIGN(const wire::BatchView batch, wire::BatchView::parse(bytes, batch_bytes_max));
    TIDELOG_TRY(wire::check_produced_batch(batch, seed));
    bytes = bytes.subspan(batch.size());
  }
  return {};
}

Result<> check_request(const fb::ProduceRequest& request, std::size_t raw_bytes) {
  if (request.acks() > fb::Acks::All) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("acks {} does not exist", static_cast<int>(request.acks())));
  }
  if (request.entries() == nullptr || request.entries()->size() == 0) {
    return fail(ErrorCode::kInvalidArgument, "a produce request has at least one entry");
  }
  if (request.entries()->size() > wire::kPartitionsPerRequestMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a produce request has at most {} entries, not {}",
                            wire::kPartitionsPerRequestMax, request.entries()->size()));
  }
  std::uint64_t sum = 0;
  std::vector<TopicPartition> seen;
  for (const fb::ProduceEntry* entry : *request.entries()) {
    sum += entry->bytes();
    if (request.entries()->size() > 1) {
      seen.push_back({topic_id(entry->topic()), PartitionIndex(entry->partition())});
    }
  }
  if (sum != raw_bytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the entries name {} bytes of batches, but {} came", sum, raw_bytes));
  }
  std::ranges::sort(seen);
  const auto twice = std::ranges::adjacent_find(seen);
  if (twice != seen.end()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a produce request names {} twice", twice->to_string()));
  }
  return {};
}

// On the owner's shard.
void append(Shard& owner, std::size_t home, ProduceCall* call, std::size_t index,
            const TopicPartition& id, const SharedBytes& batches, Acks acks) {
  Partition* partition = owner.topics().find(id);
  if (partition == nullptr) {
    owner.router().send(home, [call, index, error = owner.topics().not_served(id)](Shard*) {
      call->settle(index, fail(error));
    });
    return;
  }
  partition->replica->produce(
      batches.bytes(), acks, [&owner, home, call, index, id](Result<ProduceOutcome> result) {
        if (!result) result = fail(owner.topics().located(id, result.error()));
        owner.router().send(home, [call, index, result = std::move(result)](Shard*) mutable {
          call->settle(index, std::move(result));
        });
      });
}

// Verifies an entry and hands it to its owner, or settles it as refused.
void start_entry(Shard& shard, ProduceCall& call, std::size_t index, SharedBytes batches) {
  const TopicPartition id = call.entries()[index].id;
  Topics& topics = shard.topics();
  const replication::TopicView* topic = topics.view()->find(id.topic);
  const std::int32_t partition = id.partition.value();
  if (topic == nullptr || partition < 0 ||
      static_cast<std::size_t>(partition) >= topic->partitions.size()) {
    return call.settle(index, fail(topics.not_served(id)));
  }
  const Result<> sound = verify_batches(batches.bytes(), id, shard.broker().batch_bytes_max);
  if (!sound) return call.settle(index, fail(topics.located(id, sound.error())));
  shard.router().send(shard.router().owner_of(id),
                      [home = shard.index(), call = &call, index, id, acks = call.acks(),
                       batches = std::move(batches)](Shard* owner) {
                        append(*owner, home, call, index, id, batches, acks);
                      });
}

}  // namespace

void handle_produce(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::ProduceRequest>(frame, ticket);
  if (request == nullptr) return;
  if (shard.draining()) {
    if (request->acks() == fb::Acks::None) return;
    return ticket.fail(draining_error(shard));
  }
  if (const Result<> sound = check_request(*request, frame.raw.size()); !sound) {
    // Who asked for no answer must hear of its mistake all the same.
    if (request->acks() == fb::Acks::None) return ticket.connection().close_because(sound.error());
    return ticket.fail(sound.error());
  }
  const std::size_t count = request->entries()->size();
  ProduceCall& call =
      shard.calls().add<ProduceCall>(shard, std::move(ticket), static_cast<Acks>(request->acks()));
  if (request->deadline_ms() > 0) {
    shard.calls().set_deadline(call, std::chrono::milliseconds(request->deadline_ms()));
  }
  call.entries().reserve(count);
  for (const fb::ProduceEntry* entry : *request->entries()) {
    call.entries().push_back(
        {.id = {topic_id(entry->topic()), PartitionIndex(entry->partition())}, .result = {}});
  }
  std::size_t position = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t bytes =
        request->entries()->Get(static_cast<flatbuffers::uoffset_t>(i))->bytes();
    start_entry(shard, call, i, frame.raw.slice(position, bytes));
    position += bytes;
  }
  call.all_started();
}

}  // namespace tidelog::broker
