// The half of PartitionLogImpl that moves the log's start: by time, by size and on request. Order
// that crashes rely on: the new start counts for readers at once; it is durable in both copies of
// the checkpoint (so that rot in one never makes removed segments look lost); only then whole
// segments below it leave the log, and their files go when the last reader has gone.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "log/partition_log_impl.h"
#include "log/rules.h"
#include "log/segment_remover.h"

namespace tidelog::log {
namespace {

constexpr std::int64_t kUsPerMs = 1000;

// Whether `since` lies `limit_ms` or more back; never for a negative limit.
bool is_older(std::int64_t since_us, std::int64_t limit_ms, std::int64_t now_us) {
  return limit_ms >= 0 && now_us / kUsPerMs - since_us / kUsPerMs >= limit_ms;
}

}  // namespace

void PartitionLogImpl::retain() {
  if (retired_ || truncation_ || context_.closing || context_.failure ||
      health_ == LogHealth::kLossy) {
    return;
  }
  const std::int64_t now_us = context_.environment.executor->clock().wall_us();
  end_old_segment(now_us);
  const Offset start = retained_start(now_us);
  if (start > log_start_) raise_log_start(start);
}

// Retention takes whole segments, so records move on from journal to segment, and the segment ends,
// when they are as old as one may become, or as they may become at all.
void PartitionLogImpl::end_old_segment(std::int64_t now_us) {
  std::int64_t limit_ms = settings_.segment_ms;
  if (settings_.retention_ms >= 0 && (limit_ms < 0 || settings_.retention_ms < limit_ms)) {
    limit_ms = settings_.retention_ms;
  }
  if (limit_ms < 0) return;
  if (const auto oldest = tail_->oldest_unstable_append_us();
      oldest && is_older(*oldest, limit_ms, now_us)) {
    return destage();
  }
  const auto active = segments_.active();
  if (active && active->summary.end > active->summary.base &&
      is_older(active->created_us, limit_ms, now_us)) {
    context_.destager->request_roll(shared_from_this());
  }
}

Offset PartitionLogImpl::retained_start(std::int64_t now_us) const {
  Offset start = log_start_;
  const bool by_size = settings_.retention_bytes >= 0;
  const auto limit =
      static_cast<std::uint64_t>(std::max<std::int64_t>(settings_.retention_bytes, 0));
  std::uint64_t bytes = by_size ? size_bytes() : 0;
  for (const auto& segment : segments_.all()) {
    const SegmentSummary& summary = segment->summary;
    if (segment == segments_.active() || summary.end > high_watermark_) break;
    const bool too_much = by_size && bytes - summary.bytes >= limit;
    const bool too_old = summary.last_append_time_us >= 0 &&  // else nothing in it can be read
                         is_older(summary.last_append_time_us, settings_.retention_ms, now_us);
    if (!too_much && !too_old) break;
    bytes -= by_size ? summary.bytes : 0;
    start = std::max(start, summary.end);
  }
  return start;
}

void PartitionLogImpl::trim(Offset offset, DoneCallback done) {
  const auto answer = [&](Result<> result) {
    context_.environment.executor->post(
        [done = std::move(done), result = std::move(result)]() mutable {
          done(std::move(result));
        });
  };
  if (retired_)
    return answer(
        fail(ErrorCode::kUnknownPartition, fmt::format("{} is being removed", id_.to_string())));
  if (context_.failure) return answer(fail(ErrorCode::kStorageFailed, context_.failure->message()));
  if (context_.closing)
    return answer(
        fail(ErrorCode::kDraining, fmt::format("{}: the broker is stopping", id_.to_string())));
  if (truncation_)
    return answer(fail(ErrorCode::kOverloaded,
                       fmt::format("{}: a truncation is under way", id_.to_string())));
  if (health_ == LogHealth::kLossy) {
    return answer(fail(
        ErrorCode::kLostData,
        fmt::format("{} misses acknowledged records; nothing of it is removed", id_.to_string())));
  }
  if (offset > durable_end() && offset <= log_end()) {
    return answer(
        fail(ErrorCode::kOverloaded, fmt::format("{}: what lies below offset {} is being written",
                                                 id_.to_string(), offset.value())));
  }
  if (offset > durable_end()) {
    return answer(fail(ErrorCode::kOffsetOutOfRange,
                       fmt::format("{} ends at offset {}, it cannot begin at {}", id_.to_string(),
                                   durable_end().value(), offset.value())));
  }
  if (offset <= durable_start_) return answer({});
  trims_.push_back({offset, std::move(done)});
  raise_log_start(std::max(offset, log_start_));
}

void PartitionLogImpl::raise_log_start(Offset start) {
  log_start_ = start;
  context_.cold_reader->start_moved(*this, start);
  if (broken(Rule::kStartIsDurableFirst)) return log_start_durable(start);
  context_.checkpoint([self = shared_from_this(), start] {
    if (broken(Rule::kStartInBothCopies)) return self->log_start_durable(start);
    self->context_.checkpoint([self, start] { self->log_start_durable(start); });
  });
}

void PartitionLogImpl::log_start_durable(Offset start) {
  durable_start_ = std::max(durable_start_, start);
  if (!retired_) {
    drop_segments();
    settle_trims({});
  }
}

void PartitionLogImpl::drop_segments() {
  while (!segments_.empty() && segments_.all().front() != segments_.active() &&
         segments_.all().front()->summary.end <= durable_start_) {
    context_.remover->add(segments_.drop_first());
  }
  context_.remover->start();
}

// With success those that are durable, with an error all.
void PartitionLogImpl::settle_trims(const Result<>& result) {
  std::vector<Trim> settled;
  std::erase_if(trims_, [&](Trim& trim) {
    if (result && trim.offset > durable_start_) return false;
    settled.push_back(std::move(trim));
    return true;
  });
  for (Trim& trim : settled) trim.done(result);
}

void PartitionLogImpl::change_settings(const PartitionLogSettings& settings) {
  settings_ = settings;
  retain();
}

}  // namespace tidelog::log
