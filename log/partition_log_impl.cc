#include "log/partition_log_impl.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "log/batch_walk.h"
#include "log/rules.h"
#include "log/segment_remover.h"
#include "wire/record_batch.h"

namespace tidelog::log {
namespace {
// Many small appends may share a chunk long before it is full.
constexpr std::size_t kTimestampReadBytes = std::size_t{512} << 10;
}  // namespace

PartitionLogImpl::PartitionLogImpl(ShardContext& context, RecoveredLog recovered,
                                   const PartitionLogSettings& settings)
    : JournalLane(recovered.id, recovered.incarnation, recovered.end),
      context_(context),
      id_(recovered.id),
      incarnation_(recovered.incarnation),
      settings_(settings),
      seed_(wire::batch_seed(recovered.id)),
      log_start_(recovered.log_start),
      durable_start_(recovered.log_start),
      stable_end_(recovered.stable_end),
      high_watermark_(recovered.high_watermark),
      recovered_high_watermark_(recovered.high_watermark),
      // Not in one block with its count, which the tail cache keeps for a while.
      tail_(std::make_unique<LogTail>(*context.environment.buffers, recovered.stable_end)),
      segments_(context.paths.partition(recovered.id)),
      epochs_(std::move(recovered.epochs)),
      holes_(std::move(recovered.holes)),
      health_(recovered.health) {
  if (!recovered.segments.empty()) producers_ = *recovered.segments.back()->producers;
  set_tail(tail_.get());
  for (auto& segment : recovered.segments) segments_.add(std::move(segment));
  for (std::span<const std::byte> rest = recovered.tail; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, kStoredBatchBytesMax);
    TIDELOG_CHECK(batch.has_value(), "a recovered tail holds whole batches");
    tail_->append_stamped(*batch);
    producers_.apply(*batch);
    rest = rest.subspan(batch->size());
  }
  tail_->skip_untaken(tail_->end());
  if (health_ == LogHealth::kLossy) ++context_.counters.lossy_logs;
  context_.journal->adopt(*this, recovered.held);
  for (std::string& path : recovered.retired_files) {
    auto segment = std::make_shared<Segment>();
    segment->path = std::move(path);
    context_.remover->add(std::move(segment));
  }
}

PartitionLogImpl::~PartitionLogImpl() = default;

LogHealth PartitionLogImpl::health() const {
  return context_.failure ? LogHealth::kFailed : health_;
}

std::uint64_t PartitionLogImpl::size_bytes() const {
  return segments_.bytes() + tail_->unstable_bytes();
}

LogCheckpoint PartitionLogImpl::checkpoint() const {
  return {.id = id_,
          .incarnation = incarnation_,
          .log_start = log_start_,
          .recovery_point = broken(Rule::kCheckpointNotAhead) ? durable_end() : stable_end_,
          .durable_end = durable_end(),
          .high_watermark = std::min(high_watermark_, durable_end()),
          .lossy = health_ == LogHealth::kLossy};
}

Error PartitionLogImpl::refusal(ErrorCode code, std::string_view why) const {
  return Error(code, fmt::format("{} takes no records: {}", id_.to_string(), why));
}

Result<> PartitionLogImpl::is_open() const {
  if (retired_) return fail(refusal(ErrorCode::kUnknownPartition, "it is being removed"));
  if (context_.failure)
    return fail(refusal(ErrorCode::kStorageFailed, context_.failure->message()));
  if (health_ == LogHealth::kLossy)
    return fail(refusal(ErrorCode::kLostData, "acknowledged records are missing"));
  if (context_.closing) return fail(refusal(ErrorCode::kDraining, "the broker is stopping"));
  if (withdrawn_) return fail(refusal(ErrorCode::kStorageFull, "the disk was full"));
  if (truncation_) return fail(refusal(ErrorCode::kOverloaded, "a truncation is under way"));
  return {};
}

Result<> PartitionLogImpl::may_append(std::span<const std::byte> batches, LeaderEpoch epoch) const {
  if (context_.space_low || context_.short_of_space > 0)
    return fail(refusal(ErrorCode::kStorageFull, "the disk is nearly full"));
  if (context_.undurable_bytes + batches.size() > context_.options.unstable_bytes_max &&
      context_.undurable_bytes > 0) {
    return fail(refusal(ErrorCode::kOverloaded, "too much waits for the disk"));
  }
  TIDELOG_CHECK(epoch >= epochs_.last(), "epochs never go back");
  return {};
}

Result<std::optional<ProducerTable::Original>> PartitionLogImpl::find_original(
    const wire::BatchView& first, std::size_t bytes) const {
  if (first.producer_id().value() < 0) return std::nullopt;
  if (first.size() != bytes) {
    return fail(ErrorCode::kInvalidBatch, "a batch with a producer id comes alone");
  }
  return producers_.check(first);
}

Result<AppendResult> PartitionLogImpl::append(std::span<const std::byte> batches,
                                              LeaderEpoch epoch) {
  TIDELOG_TRY(is_open());
  const std::size_t bytes_max =
      std::min(settings_.batch_bytes_max, context_.journal->batch_bytes_max());
  // All of it, or nothing.
  for (auto rest = batches; !rest.empty();) {
    TIDELOG_ASSIGN(const auto batch, wire::BatchView::parse(rest, bytes_max));
    const auto original = find_original(batch, batches.size());
    if (original && *original) {
      return AppendResult{.base_offset = (*original)->base,
                          .next_offset = (*original)->end,
                          .append_time_us = (*original)->timestamp_forgotten ? -2 : -1,
                          .duplicate = true};
    }
    // What is refused for want of room may come again, and so may what follows it.
    TIDELOG_TRY(may_append(batches, epoch));
    if (!original) return fail(original.error());
    rest = rest.subspan(batch.size());
  }
  const Clock& clock = context_.environment.executor->clock();
  const std::int64_t now_us = clock.wall_us();
  AppendResult result{.base_offset = tail_->end(),
                      .next_offset = tail_->end(),
                      .append_time_us = settings_.log_append_time ? now_us : -1};
  wire::BatchStamp stamp{.base_offset = tail_->end(),
                         .leader_epoch = epoch,
                         .append_time_us = now_us,
                         .log_append_time_ms = std::nullopt};
  if (settings_.log_append_time) stamp.log_append_time_ms = now_us / 1000;
  epochs_.begin(epoch, tail_->end());
  for (auto rest = batches; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, bytes_max);
    stamp.base_offset = tail_->end();
    producers_.apply(tail_->append(*batch, stamp, seed_));
    rest = rest.subspan(batch->size());
    ++context_.counters.appended_batches;
  }
  result.next_offset = tail_->end();
  context_.counters.appended_bytes += batches.size();
  context_.counters.appended_records +=
      static_cast<std::uint64_t>(result.next_offset - result.base_offset);
  context_.undurable_bytes += batches.size();
  undurable_bytes_ += batches.size();
  context_.journal->stage(*this);
  return result;
}

Offset PartitionLogImpl::withdraw(Offset from) {
  // With space everything that waits is written soon.
  if (context_.short_of_space == 0 || context_.failure || retired_ || truncation_) {
    return tail_->end();
  }
  const std::size_t bytes = tail_->withdraw(from);
  if (bytes == 0) return tail_->end();
  withdrawn_ = true;
  context_.undurable_bytes -= bytes;
  undurable_bytes_ -= bytes;
  context_.journal->unstage(*this);
  epochs_.cut(tail_->end());
  high_watermark_ = std::min(high_watermark_, tail_->end());
  // As a start finds them: what segments know, and what came behind.
  producers_ = segments_.empty() ? ProducerTable() : *segments_.active()->producers;
  if (stable_end_ < tail_->end()) {
    const ReadLimits all{.up_to = tail_->end(),
                         .bytes_max = std::numeric_limits<std::size_t>::max()};
    for (const SharedBytes& piece : tail_->read(stable_end_, all).pieces) {
      enter_producers(piece.bytes());
    }
  }
  return tail_->end();
}

void PartitionLogImpl::enter_producers(std::span<const std::byte> batches) {
  for (; !batches.empty();) {
    const auto batch = wire::BatchView::parse(batches, kStoredBatchBytesMax);
    TIDELOG_CHECK(batch.has_value(), "a tail holds whole batches");
    producers_.apply(*batch);
    batches = batches.subspan(batch->size());
  }
}

void PartitionLogImpl::durable_moved(std::size_t bytes) {
  context_.undurable_bytes -= bytes;
  undurable_bytes_ -= bytes;
  if (retired_) return wait_until_retired();
  // Segments were to take everything, and may now.
  if (destage_all_ && durable_end() > cut_end_) context_.destager->request(shared_from_this());
  if (truncation_) return truncate_when_quiet();
  const std::size_t ready = tail_->destageable_bytes(durable_end());
  if (ready >= context_.options.destage_bytes || (destage_wanted_ && ready > 0)) {
    context_.destager->request(shared_from_this());
  }
  if (durable_listener_) durable_listener_(durable_end());
}

void PartitionLogImpl::destage(bool all) {
  tail_->seal();
  destage_wanted_ = true;
  destage_all_ |= all;
  context_.destager->request(shared_from_this());
}

void PartitionLogImpl::destaged(Offset end) {
  stable_end_ = end;
  const LogTail::Freed freed = tail_->stable_until(end);
  const std::size_t skipped = tail_->skip_untaken(end);
  context_.tail_cache->add(tail_, freed.chunks, freed.bytes);
  const Offset before = durable_end();
  context_.journal->stable(*this, end);
  destage_wanted_ = false;
  if (durable_end() > before) durable_moved(skipped);
}

void PartitionLogImpl::destage_ended() {
  if (durable_end() > cut_end_) destage_all_ = false;
  context_.journal->room_made(*this);
  if (retired_) return wait_until_retired();
  if (truncation_) truncate_when_quiet();
}

bool PartitionLogImpl::at_rest(std::size_t journal_bytes) const {
  return !destaging() && !truncation_ && !journalling() && tail_->untaken_bytes() == 0 &&
         durable_end() == tail_->end() && tail_->unstable_bytes() <= journal_bytes;
}

void PartitionLogImpl::failed(const Error& error) {
  settle_trims(fail(error));
  drop_truncation(Error(ErrorCode::kStorageFailed, error.message()));
  if (failure_listener_) failure_listener_(error);
  if (retired_) wait_until_retired();
}

void PartitionLogImpl::give_up(const Error& error) {
  settle_trims(fail(error));
  if (truncation_begun()) context_.clean = false;
  drop_truncation(error);
  if (when_retired_) end_retirement();
}

Result<> PartitionLogImpl::may_read(Offset from, const ReadLimits& limits) const {
  if (retired_)
    return fail(ErrorCode::kUnknownPartition, fmt::format("{} was removed", id_.to_string()));
  if (from < log_start_ || from > limits.up_to || from > tail_->end()) {
    return fail(ErrorCode::kOffsetOutOfRange,
                fmt::format("offset {} of {} is outside {} to {}", from.value(), id_.to_string(),
                            log_start_.value(), std::min(limits.up_to, tail_->end()).value()));
  }
  return {};
}

std::optional<Result<ReadResult>> PartitionLogImpl::read_tail(Offset from,
                                                              const ReadLimits& limits) {
  if (const auto allowed = may_read(from, limits); !allowed) return fail(allowed.error());
  if (from == tail_->end() || from == limits.up_to) {
    ReadResult nothing;
    nothing.base_offset = nothing.next_offset = from;
    return nothing;
  }
  if (from < tail_->start()) return std::nullopt;
  ++context_.counters.tail_reads;
  return tail_->read(from, limits);
}

void PartitionLogImpl::read(Offset from, const ReadLimits& limits, ReadCallback done) {
  read_for(ColdReader::For::kReader, from, limits, std::move(done));
}

void PartitionLogImpl::read_for(ColdReader::For purpose, Offset from, const ReadLimits& limits,
                                ReadCallback done) {
  if (auto result = read_tail(from, limits)) {
    context_.environment.executor->post(
        [result = std::move(*result), done = std::move(done)]() mutable {
          done(std::move(result));
        });
    return;
  }
  context_.cold_reader->read(shared_from_this(), from, limits, std::move(done), purpose);
}

std::optional<Offset> PartitionLogImpl::next_sound_offset(Offset from) const {
  Offset next = std::max(from, log_start_);
  for (bool moved = true; moved;) {
    moved = false;
    for (const auto* ranges : {&holes_, &corrupt_ranges()}) {
      for (const Hole& range : *ranges) {
        if (next < range.begin || next >= range.end) continue;
        next = range.end;
        moved = true;
      }
    }
  }
  if (next >= tail_->end()) return std::nullopt;
  return next;
}

PartitionLog::EpochEnd PartitionLogImpl::epoch_end(LeaderEpoch epoch) const {
  const auto found = epochs_.end_of(epoch, tail_->end());
  return {found.epoch, found.end};
}

void PartitionLogImpl::find_timestamp(std::int64_t timestamp_ms, Offset up_to, FindCallback done) {
  for (const auto& segment : segments_.all()) {
    const SegmentSummary& summary = segment->summary;
    if (summary.max_timestamp_ms < timestamp_ms || summary.end <= log_start_) continue;
    if (summary.base >= tail_->start()) break;
    context_.cold_reader->with_index(
        shared_from_this(), segment,
        [self = shared_from_this(), segment, timestamp_ms, up_to,
         done = std::move(done)](Result<> opened) mutable {
          if (!opened && opened.error().code() == ErrorCode::kCancelled) {
            return self->find_timestamp(timestamp_ms, up_to, std::move(done));
          }
          if (!opened) return done(fail(opened.error()));
          const IndexEntry* entry = segment->index->reaching(timestamp_ms);
          const Offset from = entry != nullptr ? entry->base : segment->summary.base;
          self->search_timestamp(timestamp_ms, std::max(from, self->log_start_), up_to,
                                 std::move(done));
        });
    return;
  }
  search_timestamp(timestamp_ms, std::max(tail_->start(), log_start_), up_to, std::move(done));
}

void PartitionLogImpl::search_timestamp(std::int64_t timestamp_ms, Offset from, Offset up_to,
                                        FindCallback done) {
  if (from >= tail_->start() || from >= up_to) {
    auto found = from >= up_to ? std::nullopt : tail_->find_timestamp(from, timestamp_ms, up_to);
    context_.environment.executor->post([found, done = std::move(done)]() mutable { done(found); });
    return;
  }
  const ReadLimits limits{.up_to = up_to, .bytes_max = kTimestampReadBytes, .at_least_one = true};
  read_for(
      ColdReader::For::kSearch, from, limits,
      [self = shared_from_this(), timestamp_ms, from, up_to,
       done = std::move(done)](Result<ReadResult> result) mutable {
        if (!result) {
          // Retention was faster.
          if (result.error().code() == ErrorCode::kOffsetOutOfRange && from < self->log_start_) {
            return self->search_timestamp(timestamp_ms, self->log_start_, up_to, std::move(done));
          }
          // A hole or a corrupt range hides nothing behind it.
          const auto next = self->next_sound_offset(from);
          const bool skip = result.error().code() == ErrorCode::kCorruptData ||
                            result.error().code() == ErrorCode::kLostData;
          if (!skip || (next && *next == from)) return done(fail(result.error()));
          if (!next) return done(std::nullopt);
          return self->search_timestamp(timestamp_ms, *next, up_to, std::move(done));
        }
        if (result->bytes == 0) return done(std::nullopt);
        for (const SharedBytes& piece : result->pieces) {
          for (auto rest = piece.bytes(); !rest.empty();) {
            const auto batch = wire::BatchView::parse(rest, rest.size());
            TIDELOG_CHECK(batch.has_value(), "reads give whole batches");
            if (batch->max_timestamp_ms() >= timestamp_ms && batch->next_offset() > from) {
              return done(TimestampMatch{batch->base_offset(), batch->leader_epoch()});
            }
            rest = rest.subspan(batch->size());
          }
        }
        self->search_timestamp(timestamp_ms, result->next_offset, up_to, std::move(done));
      });
}

void PartitionLogImpl::retire(std::move_only_function<void()> done) {
  retired_ = true;
  durable_listener_ = nullptr;
  failure_listener_ = nullptr;
  when_retired_ = std::move(done);
  settle_trims(
      fail(ErrorCode::kUnknownPartition, fmt::format("{} is being removed", id_.to_string())));
  if (truncation_ && !truncation_begun()) {
    drop_truncation(
        Error(ErrorCode::kUnknownPartition, fmt::format("{} is being removed", id_.to_string())));
  }
  wait_until_retired();
}

void PartitionLogImpl::wait_until_retired() {
  const bool busy = destaging() || truncation_ || journalling();
  // On a failed directory nothing of it ends any more; what is in flight holds what it needs.
  if (when_retired_ && (!busy || context_.failure)) end_retirement();
}

void PartitionLogImpl::end_retirement() {
  context_.journal->withdraw(*this);
  std::exchange(when_retired_, nullptr)();
}

void PartitionLogImpl::release(std::move_only_function<void()> done) {
  if (health_ == LogHealth::kLossy) --context_.counters.lossy_logs;
  context_.journal->forget(*this);
  context_.cold_reader->forget(*this, Offset(0));
  context_.tail_cache->forget(tail_->stable_memory_bytes());
  context_.undurable_bytes -= undurable_bytes_;
  undurable_bytes_ = 0;
  // A next life may have files of the same names.
  context_.remover->forget(segments_.directory(), std::move(done));
}

}  // namespace tidelog::log
