#include "log/log_tail.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "log/journal_format.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kBaseOffsetAt = 24;
constexpr std::size_t kEpochAt = 32;
constexpr std::size_t kLastDeltaAt = 36;
constexpr std::size_t kMaxTimestampAt = 48;
constexpr std::size_t kAppendTimeAt = 80;
constexpr std::size_t kHeaderChecksumAt = 88;

}  // namespace

std::size_t TailChunk::disk_bytes() const {
  return static_cast<std::size_t>(align_up(used, io::kBlockBytes));
}

Offset TailChunk::base_at(std::size_t index) const {
  return Offset(load_le<std::int64_t>(buffer.data() + batches[index] + kBaseOffsetAt));
}

std::size_t TailChunk::end_at(std::size_t index) const {
  return index + 1 < batches.size() ? batches[index + 1] : used;
}

std::size_t TailChunk::find(Offset offset) const {
  std::size_t low = 0;
  std::size_t high = batches.size();
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    (base_at(middle) <= offset ? low : high) = middle;
  }
  return low;
}

TailChunk& LogTail::room_for(std::size_t bytes) {
  if (!chunks_.empty()) {
    TailChunk& last = *chunks_.back();
    if (last.state == TailChunk::State::kOpen) {
      if (last.buffer.capacity() - last.used >= bytes) return last;
      seal();
    }
    // A log that fills its chunks gets larger ones; one that does not goes back to small ones.
    next_chunk_bytes_ = std::clamp(2 * std::bit_ceil(last.used), kChunkBytesMin, kChunkBytesMax);
  } else {
    next_chunk_bytes_ = kChunkBytesMin;
  }
  auto chunk = std::make_unique<TailChunk>();
  chunk->buffer = pool_.take(std::max(next_chunk_bytes_, kWriteHeaderBytes + bytes));
  chunk->base = chunk->end = end_;
  // Room for as many like this one: then its list is one allocation for all of them.
  chunk->batches.reserve((chunk->buffer.capacity() - kWriteHeaderBytes) / bytes);
  memory_bytes_ += chunk->buffer.capacity();
  chunks_.push_back(std::move(chunk));
  return *chunks_.back();
}

std::span<std::byte> LogTail::copy_in(const wire::BatchView& batch, Offset base) {
  TailChunk& chunk = room_for(batch.size());
  const std::size_t at = chunk.used;
  std::memcpy(chunk.buffer.data() + at, batch.bytes().data(), batch.size());
  chunk.batches.push_back(static_cast<std::uint32_t>(at));
  chunk.used += batch.size();
  end_ = chunk.end = base + batch.last_offset_delta() + 1;
  untaken_bytes_ += batch.size();
  unstable_bytes_ += batch.size();
  return chunk.buffer.bytes().subspan(at, batch.size());
}

wire::BatchView LogTail::append(const wire::BatchView& batch, const wire::BatchStamp& stamp,
                                std::uint64_t seed) {
  TIDELOG_CHECK(stamp.base_offset == end_, "appends continue the log");
  const std::span<std::byte> copy = copy_in(batch, stamp.base_offset);
  wire::stamp_batch(copy, stamp, seed);
  const auto stamped = wire::BatchView::parse(copy, copy.size());
  TIDELOG_CHECK(stamped.has_value(), "a stamped batch is a batch");
  return *stamped;
}

void LogTail::append_stamped(const wire::BatchView& batch) {
  TIDELOG_CHECK(batch.base_offset() == end_, "batches continue the log");
  copy_in(batch, batch.base_offset());
}

std::size_t LogTail::chunk_of(Offset offset) const {
  std::size_t low = 0;
  std::size_t high = chunks_.size();
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    (chunks_[middle]->base <= offset ? low : high) = middle;
  }
  return low;
}

std::size_t LogTail::first_untaken_bytes() const {
  const TailChunk& chunk = *chunks_[chunk_of(taken_)];
  const std::size_t index = chunk.find(taken_);
  return chunk.end_at(index) - chunk.batches[index];
}

LogTail::Taken LogTail::take(std::size_t bytes_max,
                             std::vector<std::span<const std::byte>>& pieces) {
  Taken taken;
  taken.base = taken.next = taken_;
  for (std::size_t c = chunk_of(taken_); c < chunks_.size(); ++c) {
    const TailChunk& chunk = *chunks_[c];
    const std::size_t first = chunk.find(taken.next);
    std::size_t index = first;
    for (; index < chunk.batches.size(); ++index) {
      const std::size_t bytes = chunk.end_at(index) - chunk.batches[index];
      if (taken.bytes > 0 && taken.bytes + bytes > bytes_max) break;
      taken.bytes += bytes;
      taken.checksum = chain_checksum(
          taken.checksum,
          load_le<std::uint64_t>(chunk.buffer.data() + chunk.batches[index] + kHeaderChecksumAt));
    }
    if (index > first) {
      const std::size_t from = chunk.batches[first];
      pieces.push_back(chunk.buffer.bytes().subspan(from, chunk.end_at(index - 1) - from));
    }
    if (index < chunk.batches.size()) {
      taken.next = chunk.base_at(index);
      break;
    }
    taken.next = chunk.end;
  }
  taken_ = taken.next;
  untaken_bytes_ -= taken.bytes;
  return taken;
}

std::size_t LogTail::skip_untaken(Offset end) {
  std::size_t skipped = 0;
  for (std::size_t c = taken_ < end ? chunk_of(taken_) : chunks_.size();
       c < chunks_.size() && chunks_[c]->base < end; ++c) {
    const TailChunk& chunk = *chunks_[c];
    skipped += chunk.used - chunk.batches[taken_ <= chunk.base ? 0 : chunk.find(taken_)];
  }
  taken_ = std::max(taken_, end);
  untaken_bytes_ -= skipped;
  return skipped;
}

std::size_t LogTail::withdraw(Offset from) {
  from = std::max(from, taken_);
  for (std::size_t c = chunks_.size(); c > 0; --c) {
    if (chunks_[c - 1]->in_segment_write) from = std::max(from, chunks_[c - 1]->end);
  }
  seal();  // readers may hold views of what stays
  std::size_t dropped = 0;
  while (!chunks_.empty() && chunks_.back()->end > from) {
    TailChunk& chunk = *chunks_.back();
    TIDELOG_CHECK(chunk.state == TailChunk::State::kSealed, "what is stable is not withdrawn");
    std::size_t first = chunk.base < from ? chunk.find(from) : 0;
    if (chunk.base_at(first) < from) ++first;  // the batch that holds `from` stays
    if (first == chunk.batches.size()) break;
    dropped += chunk.used - chunk.batches[first];
    end_ = chunk.end = chunk.base_at(first);
    if (first > 0) {
      chunk.used = chunk.batches[first];
      chunk.batches.resize(first);
      break;
    }
    memory_bytes_ -= chunk.buffer.capacity();
    chunks_.pop_back();
  }
  untaken_bytes_ -= dropped;
  unstable_bytes_ -= dropped;
  return dropped;
}

ReadResult LogTail::read(Offset from, const ReadLimits& limits) const {
  ReadResult result;
  result.base_offset = result.next_offset = from;
  for (std::size_t c = chunk_of(from); c < chunks_.size(); ++c) {
    const TailChunk& chunk = *chunks_[c];
    if (chunk.base >= limits.up_to) break;
    const std::size_t first = result.bytes == 0 ? chunk.find(from) : 0;
    const std::size_t start = chunk.batches[first];
    // The last batch that may be sent ends at or below both limits.
    std::size_t last = chunk.batches.size();
    if (chunk.end > limits.up_to)
      last = chunk.find(limits.up_to);  // that batch reaches over the limit
    const std::size_t budget = limits.bytes_max - std::min(result.bytes, limits.bytes_max);
    if (last > first && chunk.end_at(last - 1) - start > budget) {
      const auto over = std::upper_bound(chunk.batches.begin() + static_cast<std::ptrdiff_t>(first),
                                         chunk.batches.end(), start + budget);
      last = static_cast<std::size_t>(over - chunk.batches.begin()) - 1;
      if (last == first && result.bytes == 0 && limits.at_least_one) ++last;
    }
    if (last <= first) break;
    const std::size_t bytes = chunk.end_at(last - 1) - start;
    if (result.bytes == 0) result.base_offset = chunk.base_at(first);
    result.pieces.push_back(chunk.buffer.view(start, bytes));
    result.bytes += bytes;
    result.next_offset = last < chunk.batches.size() ? chunk.base_at(last) : chunk.end;
    if (last < chunk.batches.size()) break;
  }
  return result;
}

void LogTail::seal() {
  if (chunks_.empty() || chunks_.back()->state != TailChunk::State::kOpen) return;
  chunks_.back()->state = TailChunk::State::kSealed;
}

std::size_t LogTail::destageable_bytes(Offset durable) const {
  std::size_t bytes = 0;
  for (std::size_t c = chunks_.size(); c > 0; --c) {
    const TailChunk& chunk = *chunks_[c - 1];
    if (chunk.state == TailChunk::State::kStable) break;
    if (chunk.state == TailChunk::State::kSealed && chunk.end <= durable) bytes += chunk.used;
  }
  return bytes;
}

std::vector<TailChunk*> LogTail::destageable(Offset durable, std::size_t bytes_max) {
  std::vector<TailChunk*> found;
  std::size_t first = chunks_.size();
  while (first > 0 && chunks_[first - 1]->state != TailChunk::State::kStable) --first;
  std::size_t bytes = 0;
  for (std::size_t c = first; c < chunks_.size(); ++c) {
    TailChunk& chunk = *chunks_[c];
    if (chunk.state != TailChunk::State::kSealed || chunk.end > durable) break;
    if (!found.empty() && bytes + chunk.used > bytes_max) break;
    bytes += chunk.used;
    found.push_back(&chunk);
  }
  return found;
}

std::optional<std::int64_t> LogTail::oldest_unstable_append_us() const {
  std::size_t first = chunks_.size();
  while (first > 0 && chunks_[first - 1]->state != TailChunk::State::kStable) --first;
  if (first == chunks_.size() || chunks_[first]->batches.empty()) return std::nullopt;
  const TailChunk& chunk = *chunks_[first];
  return load_le<std::int64_t>(chunk.buffer.data() + chunk.batches.front() + kAppendTimeAt);
}

LogTail::Freed LogTail::stable_until(Offset end) {
  Freed freed;
  std::size_t first = chunks_.size();
  while (first > 0 && chunks_[first - 1]->state != TailChunk::State::kStable) --first;
  for (std::size_t c = first; c < chunks_.size() && chunks_[c]->end <= end; ++c) {
    TailChunk& chunk = *chunks_[c];
    TIDELOG_CHECK(chunk.state == TailChunk::State::kSealed, "only sealed chunks are destaged");
    chunk.state = TailChunk::State::kStable;
    unstable_bytes_ -= chunk.used - kWriteHeaderBytes;
    ++freed.chunks;
    freed.bytes += chunk.buffer.capacity();
  }
  stable_memory_bytes_ += freed.bytes;
  return freed;
}

std::size_t LogTail::evictable_bytes() const {
  if (chunks_.empty() || chunks_.front()->state != TailChunk::State::kStable) return 0;
  return chunks_.front()->buffer.capacity();
}

void LogTail::evict() {
  start_ = chunks_.front()->end;
  memory_bytes_ -= chunks_.front()->buffer.capacity();
  stable_memory_bytes_ -= chunks_.front()->buffer.capacity();
  chunks_.pop_front();
}

void LogTail::cut(Offset end) {
  while (!chunks_.empty() && chunks_.back()->end > end) {
    const TailChunk& chunk = *chunks_.back();
    // Readers may hold views of the rest of a chunk that is kept in part, where nothing may be
    // written then: there is no such chunk.
    TIDELOG_CHECK(chunk.state == TailChunk::State::kStable && chunk.base >= end,
                  "a cut falls between stable chunks");
    memory_bytes_ -= chunk.buffer.capacity();
    stable_memory_bytes_ -= chunk.buffer.capacity();
    chunks_.pop_back();
  }
  end_ = end;
  start_ = chunks_.empty() ? end : std::min(start_, end);
  taken_ = end;
  untaken_bytes_ = 0;
}

std::optional<PartitionLog::TimestampMatch> LogTail::find_timestamp(Offset from,
                                                                    std::int64_t timestamp_ms,
                                                                    Offset up_to) const {
  if (from >= end_) return std::nullopt;
  for (std::size_t c = chunk_of(from); c < chunks_.size(); ++c) {
    const TailChunk& chunk = *chunks_[c];
    for (std::size_t i = chunk.base <= from ? chunk.find(from) : 0; i < chunk.batches.size(); ++i) {
      const std::byte* at = chunk.buffer.data() + chunk.batches[i];
      const Offset base(load_le<std::int64_t>(at + kBaseOffsetAt));
      if (base + load_le<std::int32_t>(at + kLastDeltaAt) >= up_to) return std::nullopt;
      if (load_le<std::int64_t>(at + kMaxTimestampAt) >= timestamp_ms) {
        return PartitionLog::TimestampMatch{base,
                                            LeaderEpoch(load_le<std::int32_t>(at + kEpochAt))};
      }
    }
  }
  return std::nullopt;
}

}  // namespace tidelog::log
