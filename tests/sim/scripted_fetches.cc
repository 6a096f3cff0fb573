#include "tests/sim/scripted_fetches.h"

#include <algorithm>
#include <utility>

#include "tests/sim/scripted_session.h"

namespace tidelog::sim {

void ScriptedFetches::fetch(std::uint64_t correlation, std::span<const std::byte> table) {
  ++broker_.counts.fetches;
  const auto& asked = read_request<fb::FetchRequest>(table);
  if (broker_.on_fetch_request && !asked.close_session()) {
    const ErrorCode refused = broker_.on_fetch_request();
    if (refused != ErrorCode::kOk) return fail(correlation, refused);
  }
  std::uint64_t session = asked.session();
  if (session == 0) {
    if (fetch_sessions_.size() >= kSessionsMax) return fail(correlation, ErrorCode::kOverloaded);
    session = next_session_++;
    fetch_sessions_[session];
  }
  const auto at = fetch_sessions_.find(session);
  if (at == fetch_sessions_.end()) return fail(correlation, ErrorCode::kUnknownSession);
  for (const auto* gone : *asked.forgotten()) {
    at->second.erase({from_wire(gone->topic()), PartitionIndex(gone->partition())});
  }
  for (const auto* change : *asked.changed()) {
    at->second[{from_wire(change->topic()), PartitionIndex(change->partition())}] = {
        Offset(change->offset()), change->bytes_max(), change->current_leader_epoch()};
    const bool is_here = broker_.shard_of(change->partition()) == session_.shard();
    if (!is_here) ++broker_.counts.partitions_elsewhere;
  }
  if (asked.close_session()) {
    const std::deque<Parked> open = parked_;
    for (const Parked& one : open) {
      if (one.session == session) cancel(one.correlation);
    }
    fetch_sessions_.erase(at);
    return fail(correlation, ErrorCode::kOk);
  }
  Parked parked{correlation, session, asked.bytes_max(), 0};
  if (asked.max_wait_ms() == 0) {
    answer(parked, true);
    return;
  }
  parked.timer = broker_.executor_.run_after(
      std::chrono::milliseconds(asked.max_wait_ms()), [this, correlation] {
        const auto waiting = std::ranges::find(parked_, correlation, &Parked::correlation);
        if (waiting == parked_.end()) return;
        const Parked expired = *waiting;
        parked_.erase(waiting);
        answer(expired, true);
      });
  parked_.push_back(parked);
  wake();
}

void ScriptedFetches::fail(std::uint64_t correlation, ErrorCode code) {
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateFetchAnswerDirect(to, status(to, code), 0));
  session_.send(wire::ApiKey::kFetch, correlation, to, {});
}

bool ScriptedFetches::answer(const Parked& parked, bool even_nothing) {
  const auto at = fetch_sessions_.find(parked.session);
  if (at == fetch_sessions_.end()) {
    fail(parked.correlation, ErrorCode::kUnknownSession);
    return true;
  }
  flatbuffers::FlatBufferBuilder to;
  std::vector<flatbuffers::Offset<fb::FetchResult>> results;
  std::vector<SharedBytes> raw;
  std::size_t bytes = 0;
  for (auto partition = at->second.begin(); partition != at->second.end();) {
    const bool keeps = answer_partition(partition->first, partition->second, parked.bytes_max, to,
                                        results, raw, bytes);
    partition = keeps ? std::next(partition) : at->second.erase(partition);
  }
  if (results.empty() && !even_nothing) return false;
  broker_.executor_.cancel(parked.timer);
  broker_.fetch_bytes_answered += bytes;
  to.Finish(fb::CreateFetchAnswerDirect(to, status(to, ErrorCode::kOk), parked.session, &results));
  session_.send(wire::ApiKey::kFetch, parked.correlation, to, std::move(raw));
  return true;
}

bool ScriptedFetches::answer_partition(const TopicPartition& id, Position& position,
                                       std::size_t bytes_max, flatbuffers::FlatBufferBuilder& to,
                                       std::vector<flatbuffers::Offset<fb::FetchResult>>& results,
                                       std::vector<SharedBytes>& raw, std::size_t& bytes) {
  ScriptedLog* log = broker_.find(id);
  ScriptedBroker::FetchVerdict verdict;
  if (log == nullptr) {
    verdict.code = ErrorCode::kUnknownTopic;
  } else {
    if (broker_.on_fetch) {
      verdict = broker_.on_fetch(*broker_.name_of(id.topic), id.partition.value());
    }
    if (position.offset < log->start() || position.offset > log->end()) {
      verdict.code = ErrorCode::kOffsetOutOfRange;
    }
  }
  const fb::Uuid topic = to_wire(id.topic);
  std::string message = "as the test says";
  if (position.leader_epoch >= 0 && position.leader_epoch != broker_.leader_epoch_) {
    verdict.code = ErrorCode::kFencedLeaderEpoch;
    message = "the fetch names an old leader epoch";
  }
  if (verdict.code != ErrorCode::kOk) {
    results.push_back(fb::CreateFetchResult(to, &topic, id.partition.value(),
                                            status(to, verdict.code, message), 0, -1, -1, 1,
                                            verdict.diverging_offset, verdict.sound_offset));
    return false;
  }
  if (position.offset >= log->end() || (bytes > 0 && bytes >= bytes_max)) return true;
  const ScriptedLog::Read read = log->read(
      position.offset, std::min(position.bytes_max, bytes_max - std::min(bytes, bytes_max)));
  position.offset = read.next;
  results.push_back(fb::CreateFetchResult(
      to, &topic, id.partition.value(), 0, log->start().value(), log->end().value(),
      log->end().value(), -1, -1, -1, read.next.value(), static_cast<std::uint32_t>(read.bytes)));
  raw.insert(raw.end(), read.batches.begin(), read.batches.end());
  bytes += read.bytes;
  return true;
}

void ScriptedFetches::wake() {
  while (!parked_.empty() && answer(parked_.front(), false)) parked_.pop_front();
}

bool ScriptedFetches::cancel(std::uint64_t correlation) {
  const auto at = std::ranges::find(parked_, correlation, &Parked::correlation);
  if (at == parked_.end()) return false;
  const Parked parked = *at;
  parked_.erase(at);
  return answer(parked, true);
}

void ScriptedFetches::end() {
  for (const Parked& parked : parked_) broker_.executor_.cancel(parked.timer);
  parked_.clear();
}

}  // namespace tidelog::sim
