#include "broker/fetch_position.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "broker/topics.h"

namespace tidelog::broker {

std::optional<FetchChunk> FetchPosition::check(Offset readable_end, const Topics& topics) {
  if (!std::exchange(fresh, false)) return std::nullopt;
  const log::PartitionLog& log = *partition->log;
  const LeaderEpoch epoch = partition->replica->leader_epoch();
  const auto refused = [&](ErrorCode code, std::string message) {
    return refusal(Error(code, std::move(message)), topics);
  };
  if (target.current_leader_epoch.value() >= 0 && target.current_leader_epoch != epoch) {
    const bool behind = target.current_leader_epoch < epoch;
    return refused(behind ? ErrorCode::kFencedLeaderEpoch : ErrorCode::kNotLeader,
                   fmt::format("the fetch names leader epoch {}, this broker leads in {}",
                               target.current_leader_epoch.value(), epoch.value()));
  }
  // What lies before the log's start is gone; whether it once agreed cannot be told any more.
  if (target.last_epoch.value() >= 0 && target.offset > log.log_start()) {
    const log::PartitionLog::EpochEnd end = log.epoch_end(target.last_epoch);
    if (end.epoch != target.last_epoch || end.end < target.offset) {
      FetchChunk chunk = refused(
          ErrorCode::kDiverged,
          fmt::format("the record before offset {} was read in leader epoch {}, but here epoch {} "
                      "ends at {}",
                      target.offset.value(), target.last_epoch.value(), end.epoch.value(),
                      end.end.value()));
      chunk.diverging = {end.epoch, std::min(end.end, target.offset)};
      return chunk;
    }
  }
  // Up to the log's end an offset is good: what is not committed yet will be.
  const Offset end = std::max(readable_end, log.log_end());
  if (target.offset < log.log_start() || target.offset > end) {
    return refused(ErrorCode::kOffsetOutOfRange,
                   fmt::format("offset {} is outside of [{}, {}]", target.offset.value(),
                               log.log_start().value(), readable_end.value()));
  }
  return std::nullopt;
}

FetchChunk FetchPosition::nothing() const {
  FetchChunk chunk;
  chunk.id = target.id;
  chunk.generation = target.generation;
  chunk.first_offset = target.offset;
  chunk.next_offset = target.offset;
  if (partition == nullptr) return chunk;
  chunk.start_offset = partition->log->log_start();
  chunk.high_watermark = partition->replica->high_watermark();
  chunk.leader_epoch = partition->replica->leader_epoch();
  return chunk;
}

FetchChunk FetchPosition::advance(log::ReadResult result, BudgetHold hold) {
  FetchChunk chunk = nothing();
  target.offset = result.next_offset;
  chunk.next_offset = result.next_offset;
  chunk.pieces = std::move(result.pieces);
  chunk.bytes = result.bytes;
  hold.shrink_to(result.bytes);
  chunk.hold = std::move(hold);
  return chunk;
}

FetchChunk FetchPosition::refusal(const Error& error, const Topics& topics) const {
  FetchChunk chunk = nothing();
  const bool damaged =
      error.code() == ErrorCode::kCorruptData || error.code() == ErrorCode::kLostData;
  if (damaged && partition != nullptr) {
    chunk.sound_offset = partition->log->next_sound_offset(target.offset);
  }
  const bool named = error.code() == ErrorCode::kUnknownTopic ||
                     error.code() == ErrorCode::kUnknownPartition || partition == nullptr;
  chunk.error = named ? error : topics.located(target.id, error);
  return chunk;
}

}  // namespace tidelog::broker
