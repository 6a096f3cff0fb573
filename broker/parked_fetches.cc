#include "broker/parked_fetches.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/check.h"
#include "broker/metrics.h"
#include "broker/shard.h"

namespace tidelog::broker {

struct ParkedFetches::Reader {
  SessionKey key;
  std::unordered_map<TopicPartition, std::unique_ptr<FetchPosition>> positions;
  std::deque<FetchPosition*> ready;
  std::deque<FetchChunk> finished;  // errors, and what came from the disk
  std::size_t reads_in_flight = 0;
  std::size_t reading_bytes = 0;
  std::size_t credit = 0;
  bool armed = false;
  bool must_reply = false;
  bool paused = false;       // nobody has fetched for a while
  bool woken = false;        // in this turn
  bool has_unready = false;  // `ready` names some that no longer are
  bool starved = false;      // in starved_
};

namespace {

// Of one read of the disk; what is larger is read on with the next one.
constexpr std::size_t kColdReadBytesMax = 512 << 10;

void end_read(FetchPosition& position, std::size_t& reads, std::size_t& bytes) {
  if (position.state != FetchPosition::State::kReading) return;
  --reads;
  bytes -= std::exchange(position.reading_bytes, 0);
}

}  // namespace

ParkedFetches::ParkedFetches(Shard& shard) : shard_(shard) {}
ParkedFetches::~ParkedFetches() = default;

void ParkedFetches::change(const SessionKey& key, std::vector<FetchTarget> targets) {
  std::unique_ptr<Reader>& reader = readers_[key.session];
  if (!reader) {
    reader = std::make_unique<Reader>();
    reader->key = key;
  }
  if (!reader->finished.empty()) {
    PartitionSet moved;
    for (const FetchTarget& target : targets) moved.insert(target.id);
    drop_finished(*reader, moved);
  }
  for (const FetchTarget& target : targets) unready(*reader, target.id);
  drop_unready(*reader);
  for (FetchTarget& target : targets) {
    const auto old = reader->positions.find(target.id);
    if (old != reader->positions.end()) remove(*reader, *old->second);
    Partition* partition = shard_.topics().find(target.id);
    if (partition == nullptr) {
      FetchPosition nowhere;
      nowhere.target = target;
      reader->finished.push_back(
          nowhere.refusal(shard_.topics().not_served(target.id), shard_.topics()));
      continue;
    }
    auto position = std::make_unique<FetchPosition>();
    position->session = key.session;
    position->target = target;
    position->partition = partition;
    position->place = partition->positions.size();
    partition->positions.push_back(position.get());
    reader->ready.push_back(position.get());
    reader->positions[target.id] = std::move(position);
  }
  shard_.metrics().fetch_readers.set(readers_.size());
  collect(*reader);
}

void ParkedFetches::forget(std::uint64_t session, const std::vector<TopicPartition>& partitions) {
  const auto at = readers_.find(session);
  if (at == readers_.end()) return;
  Reader& reader = *at->second;
  if (!reader.finished.empty()) {
    drop_finished(reader, PartitionSet(partitions.begin(), partitions.end()));
  }
  for (const TopicPartition& id : partitions) unready(reader, id);
  drop_unready(reader);
  for (const TopicPartition& id : partitions) {
    const auto position = reader.positions.find(id);
    if (position != reader.positions.end()) remove(reader, *position->second);
  }
  // A reply may have waited for a read of what is gone now.
  collect(reader);
}

// News of positions that the client has left would be kept until somebody fetches, and it may
// never stop leaving positions.
void ParkedFetches::drop_finished(Reader& reader, const PartitionSet& partitions) {
  std::erase_if(reader.finished,
                [&](const FetchChunk& chunk) { return partitions.contains(chunk.id); });
}

void ParkedFetches::close(std::uint64_t session) {
  const auto at = readers_.find(session);
  if (at == readers_.end()) return;
  Reader& reader = *at->second;
  for (FetchPosition* position : reader.ready) position->state = FetchPosition::State::kWaiting;
  reader.ready.clear();
  while (!reader.positions.empty()) remove(reader, *reader.positions.begin()->second);
  readers_.erase(at);
  shard_.metrics().fetch_readers.set(readers_.size());
}

void ParkedFetches::unready(Reader& reader, const TopicPartition& id) {
  const auto found = reader.positions.find(id);
  if (found == reader.positions.end()) return;
  FetchPosition& position = *found->second;
  if (position.state != FetchPosition::State::kReady) return;
  position.state = FetchPosition::State::kWaiting;
  reader.has_unready = true;
}

void ParkedFetches::drop_unready(Reader& reader) {
  if (!std::exchange(reader.has_unready, false)) return;
  std::erase_if(reader.ready, [](const FetchPosition* position) {
    return position->state != FetchPosition::State::kReady;
  });
}

void ParkedFetches::remove(Reader& reader, FetchPosition& position) {
  std::vector<FetchPosition*>& of_partition = position.partition->positions;
  of_partition[position.place] = of_partition.back();
  of_partition[position.place]->place = position.place;
  of_partition.pop_back();
  if (position.state == FetchPosition::State::kReady) std::erase(reader.ready, &position);
  end_read(position, reader.reads_in_flight, reader.reading_bytes);
  reader.positions.erase(position.target.id);
}

void ParkedFetches::arm(std::uint64_t session, std::size_t bytes, bool reply) {
  const auto at = readers_.find(session);
  TIDELOG_CHECK(at != readers_.end(), "a session arms only readers it made");
  Reader& reader = *at->second;
  if (!reader.armed) {
    reader.armed = true;
    reader.credit = bytes;
  }
  reader.must_reply = reader.must_reply || reply;
  reader.paused = false;
  collect(reader);
}

void ParkedFetches::take_back(std::uint64_t session) {
  const auto at = readers_.find(session);
  if (at == readers_.end()) return;
  Reader& reader = *at->second;
  reader.paused = true;
  // The last first, so that a position ends where its first news began.
  for (FetchChunk& chunk : std::views::reverse(reader.finished)) {
    if (chunk.error) continue;
    const auto found = reader.positions.find(chunk.id);
    if (found != reader.positions.end()) found->second->target.offset = chunk.first_offset;
  }
  std::erase_if(reader.finished, [](const FetchChunk& chunk) { return !chunk.error; });
}

void ParkedFetches::disarm(std::uint64_t session) {
  const auto at = readers_.find(session);
  if (at == readers_.end()) return;
  at->second->armed = false;
  at->second->must_reply = false;
}

void ParkedFetches::advanced(Partition& partition) {
  if (partition.advanced || partition.positions.empty()) return;
  partition.advanced = true;
  advanced_.push_back(&partition);
}

void ParkedFetches::gone(Partition& partition, const Error& error) {
  if (partition.advanced) std::erase(advanced_, &partition);
  std::vector<std::uint64_t> told;
  while (!partition.positions.empty()) {
    FetchPosition& position = *partition.positions.back();
    Reader& reader = *readers_.at(position.session);
    reader.finished.push_back(position.refusal(error, shard_.topics()));
    told.push_back(position.session);
    remove(reader, position);
  }
  for (const std::uint64_t session : told) {
    // Telling one session may close another on this shard.
    const auto at = readers_.find(session);
    if (at != readers_.end()) collect(*at->second);
  }
}

void ParkedFetches::budget_freed() {
  for (const std::uint64_t session : std::exchange(starved_, {})) {
    const auto at = readers_.find(session);
    if (at == readers_.end()) continue;
    at->second->starved = false;
    collect(*at->second);
  }
}

void ParkedFetches::end_of_turn() {
  if (advanced_.empty()) return;
  std::vector<std::uint64_t> woken;
  for (Partition* partition : advanced_) {
    partition->advanced = false;
    for (FetchPosition* position : partition->positions) {
      if (position->state != FetchPosition::State::kWaiting) continue;
      Reader& reader = *readers_.at(position->session);
      position->state = FetchPosition::State::kReady;
      reader.ready.push_back(position);
      if (std::exchange(reader.woken, true)) continue;
      woken.push_back(position->session);
    }
  }
  advanced_.clear();
  for (const std::uint64_t session : woken) {
    const auto at = readers_.find(session);
    if (at == readers_.end()) continue;
    at->second->woken = false;
    collect(*at->second);
  }
}

void ParkedFetches::collect(Reader& reader) {
  if (!reader.armed) return;
  std::vector<FetchChunk> chunks;
  std::size_t credit = reader.credit;
  const auto charge = [&credit, &chunks] {
    credit -= std::min(credit, answer_bytes(chunks.back()));
  };
  while (credit > 0 && !reader.finished.empty()) {
    chunks.push_back(std::move(reader.finished.front()));
    reader.finished.pop_front();
    charge();
  }
  // Each position that is ready now is looked at, those with more to give again and again.
  while (credit > 0 && !reader.ready.empty()) {
    if (!shard_.broker().fetch_budget.has_room()) {
      if (!std::exchange(reader.starved, true)) starved_.push_back(reader.key.session);
      break;
    }
    const std::size_t before = chunks.size();
    if (!read_front(reader, credit, chunks)) break;
    if (chunks.size() > before) charge();
  }
  const bool reply = reader.must_reply && reader.reads_in_flight == 0;
  if (chunks.empty() && !reply) return;
  reader.armed = false;
  reader.must_reply = false;
  shard_.router().send(reader.key.home, [session = reader.key.session, from = shard_.index(),
                                         chunks = std::move(chunks)](Shard* home) mutable {
    if (FetchSession* found = home->find_session(session)) found->deliver(from, std::move(chunks));
  });
}

bool ParkedFetches::read_front(Reader& reader, std::size_t credit,
                               std::vector<FetchChunk>& chunks) {
  FetchPosition& position = *reader.ready.front();
  const replication::Replica& replica = *position.partition->replica;
  log::PartitionLog& log = *position.partition->log;
  const Result<Offset> end = replica.readable_end();
  const auto refuse_with = [&](FetchChunk chunk) {
    chunks.push_back(std::move(chunk));
    reader.ready.pop_front();
    position.state = FetchPosition::State::kWaiting;
    remove(reader, position);
    return true;
  };
  const auto wait = [&] {
    reader.ready.pop_front();
    position.state = FetchPosition::State::kWaiting;
    return true;
  };
  if (!end) {
    if (end.error().code() == ErrorCode::kNotReady) return wait();
    return refuse_with(position.refusal(end.error(), shard_.topics()));
  }
  if (auto refused = position.check(*end, shard_.topics())) {
    return refuse_with(std::move(*refused));
  }
  if (position.target.offset >= *end) return wait();

  std::size_t bytes_max = credit;
  if (position.target.bytes_max > 0) {
    bytes_max = std::min<std::size_t>(bytes_max, position.target.bytes_max);
  }
  const log::ReadLimits limits{
      .up_to = *end, .bytes_max = bytes_max, .at_least_one = chunks.empty()};
  std::optional<Result<log::ReadResult>> result = log.read_tail(position.target.offset, limits);
  if (!result) {
    // What is being read counts as delivered, or a slow disk would be asked for far too much.
    if (reader.reading_bytes >= reader.credit) return false;
    reader.ready.pop_front();
    start_cold_read(reader, position, limits);
    return true;
  }
  if (!*result) return refuse_with(position.refusal(result->error(), shard_.topics()));
  if ((*result)->bytes == 0) {
    // Its next batch does not fit into what is left; it comes first the next time.
    return limits.at_least_one ? wait() : false;
  }
  reader.ready.pop_front();
  BudgetHold hold = shard_.broker().fetch_budget.take_anyway((*result)->bytes);
  chunks.push_back(read_chunk(position, std::move(**result), std::move(hold)));
  if (position.target.offset < *end) {
    reader.ready.push_back(&position);
  } else {
    position.state = FetchPosition::State::kWaiting;
  }
  return true;
}

void ParkedFetches::start_cold_read(Reader& reader, FetchPosition& position,
                                    const log::ReadLimits& limits) {
  log::ReadLimits whole = limits;
  whole.at_least_one = true;
  whole.bytes_max = std::min(whole.bytes_max, kColdReadBytesMax);
  position.state = FetchPosition::State::kReading;
  position.reading_bytes = whole.bytes_max;
  ++reader.reads_in_flight;
  reader.reading_bytes += whole.bytes_max;
  // Taken before the read: thousands of consumers may fall behind at once.
  BudgetHold hold = shard_.broker().fetch_budget.take_anyway(whole.bytes_max);
  position.partition->log->read(position.target.offset, whole,
                                [this, session = position.session, target = position.target,
                                 hold = std::move(hold)](Result<log::ReadResult> result) mutable {
                                  finish_cold_read(session, target, std::move(hold),
                                                   std::move(result));
                                });
}

void ParkedFetches::finish_cold_read(std::uint64_t session, const FetchTarget& target,
                                     BudgetHold hold, Result<log::ReadResult> result) {
  const auto at = readers_.find(session);
  if (at == readers_.end()) return;
  Reader& reader = *at->second;
  const auto found = reader.positions.find(target.id);
  if (found == reader.positions.end()) return;
  FetchPosition& position = *found->second;
  if (position.target.generation != target.generation) return;
  end_read(position, reader.reads_in_flight, reader.reading_bytes);
  position.state = FetchPosition::State::kWaiting;
  if (!result) {
    reader.finished.push_back(position.refusal(result.error(), shard_.topics()));
    remove(reader, position);
  } else if (result->bytes > 0) {
    if (!reader.paused) {
      if (hold.bytes() < result->bytes) {
        hold = shard_.broker().fetch_budget.take_anyway(result->bytes);
      }
      reader.finished.push_back(read_chunk(position, std::move(*result), std::move(hold)));
    }
    position.state = FetchPosition::State::kReady;
    reader.ready.push_back(&position);
  }
  collect(reader);
}

FetchChunk ParkedFetches::read_chunk(FetchPosition& position, log::ReadResult result,
                                     BudgetHold hold) {
  ShardMetrics& metrics = shard_.metrics();
  metrics.fetched_bytes.add(result.bytes);
  metrics.fetched_records.add(
      static_cast<std::uint64_t>(result.next_offset - position.target.offset));
  return position.advance(std::move(result), std::move(hold));
}

}  // namespace tidelog::broker
