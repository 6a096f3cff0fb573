#include "tests/sim/memory_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "wire/record_batch.h"

namespace tidelog::sim {

using wire::BatchView;

MemoryLog::MemoryLog(Executor& executor, TopicPartition id, log::PartitionLogSettings settings)
    : executor_(executor),
      id_(id),
      settings_(settings),
      self_(std::make_shared<MemoryLog*>(this)) {}

MemoryLog::~MemoryLog() = default;

void MemoryLog::later(Task work) {
  executor_.post([alive = std::weak_ptr(self_), work = std::move(work)]() mutable {
    if (!alive.expired()) work();
  });
}

Offset MemoryLog::log_end() const { return batches_.empty() ? log_start_ : batches_.back().next; }

LeaderEpoch MemoryLog::last_epoch() const {
  return batches_.empty() ? LeaderEpoch(-1) : batches_.back().epoch;
}

log::LogHealth MemoryLog::health() const {
  return failure_ ? log::LogHealth::kFailed : log::LogHealth::kSound;
}

std::uint64_t MemoryLog::size_bytes() const {
  std::uint64_t bytes = 0;
  for (const Batch& batch : batches_) bytes += batch.bytes.size();
  return bytes;
}

Result<log::AppendResult> MemoryLog::append(std::span<const std::byte> batches, LeaderEpoch epoch) {
  TIDELOG_CHECK(epoch >= last_epoch(), "epochs in a log never fall");
  if (failure_) return fail(*failure_);
  if (refusal_) return fail(*std::exchange(refusal_, std::nullopt));
  std::vector<BatchView> views;
  for (auto rest = batches; !rest.empty();) {
    TIDELOG_ASSIGN(const BatchView view, BatchView::parse(rest, settings_.batch_bytes_max));
    if (view.producer_id().value() >= 0) {
      TIDELOG_ASSIGN(const auto original, producers_.check(view));
      if (original) {
        return log::AppendResult{original->base, original->end,
                                 original->timestamp_forgotten ? -2 : -1, true};
      }
    }
    views.push_back(view);
    rest = rest.subspan(view.size());
  }
  const std::int64_t now_us = executor_.clock().wall_us();
  const Offset first = log_end();
  for (const BatchView& view : views) {
    std::vector<std::byte> copy(view.bytes().begin(), view.bytes().end());
    const Offset base = log_end();
    wire::stamp_batch(copy,
                      {.base_offset = base,
                       .leader_epoch = epoch,
                       .append_time_us = now_us,
                       .log_append_time_ms =
                           settings_.log_append_time ? std::optional(now_us / 1000) : std::nullopt},
                      wire::batch_seed(id_));
    const auto stamped = BatchView::parse(copy, copy.size());
    TIDELOG_CHECK(stamped.has_value(), "a stamped batch is a batch");
    producers_.apply(*stamped);
    batches_.push_back({SharedBytes::copy_of(copy), base, stamped->next_offset(), epoch,
                        stamped->max_timestamp_ms()});
  }
  if (!held_) later([this, end = log_end()] { release_up_to(end); });
  return log::AppendResult{first, log_end(), settings_.log_append_time ? now_us : -1};
}

Offset MemoryLog::withdraw(Offset from) {
  if (!written_) return log_end();
  const Offset kept = std::max({from, *written_, durable_end_});
  while (!batches_.empty() && batches_.back().base >= kept) batches_.pop_back();
  find_producers_again();
  return log_end();
}

void MemoryLog::release() {
  held_ = false;
  written_.reset();
  later([this, end = log_end()] { release_up_to(end); });
}

void MemoryLog::release_up_to(Offset end) {
  const Offset durable = std::min(end, log_end());
  if (failure_ || durable <= durable_end_) return;
  durable_end_ = durable;
  if (durable_) durable_(durable_end_);
}

void MemoryLog::fail_writes(const Error& error) {
  if (failure_) return;
  failure_ = error;
  later([this] {
    if (failed_) failed_(*failure_);
  });
}

void MemoryLog::lose_unstable() {
  while (!batches_.empty() && batches_.back().next > durable_end_) batches_.pop_back();
  recovered_ = checkpointed_;
  find_producers_again();
}

void MemoryLog::find_producers_again() {
  producers_ = log::ProducerTable();
  for (const Batch& batch : batches_) {
    producers_.apply(*BatchView::parse(batch.bytes.bytes(), batch.bytes.size()));
  }
}

void MemoryLog::drop_before(Offset offset) {
  while (!batches_.empty() && batches_.front().next <= offset) batches_.erase(batches_.begin());
  log_start_ = offset;
}

void MemoryLog::on_durable(std::function<void(Offset)> listener) { durable_ = std::move(listener); }
void MemoryLog::on_failure(std::function<void(const Error&)> listener) {
  failed_ = std::move(listener);
}

std::optional<Result<log::ReadResult>> MemoryLog::read_tail(Offset from,
                                                            const log::ReadLimits& limits) {
  if (from < log_start_ || from > limits.up_to) {
    return fail(ErrorCode::kOffsetOutOfRange,
                fmt::format("offset {} of {} is not between {} and {}", from.value(),
                            id_.to_string(), log_start_.value(), limits.up_to.value()));
  }
  log::ReadResult result{{}, 0, from, from};
  for (const Batch& batch : batches_) {
    if (batch.next <= from) continue;
    if (batch.next > limits.up_to) break;
    const bool fits = result.bytes + batch.bytes.size() <= limits.bytes_max;
    if (!fits && (!result.pieces.empty() || !limits.at_least_one)) break;
    if (result.pieces.empty()) result.base_offset = batch.base;
    result.pieces.push_back(batch.bytes);
    result.bytes += batch.bytes.size();
    result.next_offset = batch.next;
  }
  return result;
}

void MemoryLog::read(Offset from, const log::ReadLimits& limits, ReadCallback done) {
  later([this, from, limits, done = std::move(done)]() mutable { done(*read_tail(from, limits)); });
}

std::optional<Offset> MemoryLog::next_sound_offset(Offset from) const {
  if (from >= log_end()) return std::nullopt;
  return std::max(from, log_start_);
}

void MemoryLog::find_timestamp(std::int64_t timestamp_ms, Offset up_to, FindCallback done) {
  std::optional<TimestampMatch> match;
  for (const Batch& batch : batches_) {
    if (batch.next > up_to) break;
    if (batch.max_timestamp_ms < timestamp_ms) continue;
    match = TimestampMatch{batch.base, batch.epoch};
    break;
  }
  later([match, done = std::move(done)]() mutable { done(match); });
}

log::PartitionLog::EpochEnd MemoryLog::epoch_end(LeaderEpoch epoch) const {
  EpochEnd found{LeaderEpoch(-1), log_start_};
  for (const Batch& batch : batches_) {
    if (batch.epoch <= epoch) found = {batch.epoch, batch.next};
  }
  return found;
}

void MemoryLog::trim(Offset offset, DoneCallback done) {
  Result<> result;
  if (offset > durable_end_) {
    result = fail(ErrorCode::kOffsetOutOfRange, "the new start lies above the durable end");
  } else if (offset > log_start_) {
    drop_before(offset);
  }
  later(
      [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
}

void MemoryLog::truncate(Offset offset, DoneCallback done) {
  while (!batches_.empty() && batches_.back().next > offset) batches_.pop_back();
  durable_end_ = std::min(durable_end_, log_end());
  find_producers_again();
  later([done = std::move(done)]() mutable { done({}); });
}

}  // namespace tidelog::sim
