// Index, tail, tail cache.
#include <benchmark/benchmark.h>

#include <memory>

#include "base/check.h"
#include "base/random.h"
#include "bench/micro/allocations.h"
#include "bench/micro/samples.h"
#include "log/log_tail.h"
#include "log/segment_index.h"
#include "log/tail_cache.h"
#include "wire/limits.h"

namespace tidelog::bench {
namespace {

using log::LogTail;

// A segment of 256 MiB, an entry for each 32 KiB.
constexpr std::int64_t kEntries = 8192;
constexpr std::int64_t kOffsetsPerEntry = 32;

log::SegmentIndex sample_index() {
  log::SegmentIndex index;
  for (std::int64_t i = 0; i < kEntries; ++i) {
    index.entries.push_back({.base = Offset(i * kOffsetsPerEntry),
                             .position = static_cast<std::uint64_t>(i) << 15,
                             .max_timestamp_ms = 1000 + i});
  }
  return index;
}

void index_by_offset(benchmark::State& state) {
  const log::SegmentIndex index = sample_index();
  SeededRandom random(1);
  const CountAllocations count(state);
  for (auto _ : state) {
    const auto offset = static_cast<std::int64_t>(random.below(kEntries * kOffsetsPerEntry));
    benchmark::DoNotOptimize(index.floor(Offset(offset)));
  }
}
BENCHMARK(index_by_offset);

void index_by_time(benchmark::State& state) {
  const log::SegmentIndex index = sample_index();
  SeededRandom random(1);
  const CountAllocations count(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        index.reaching(1000 + static_cast<std::int64_t>(random.below(kEntries))));
  }
}
BENCHMARK(index_by_time);

void index_decode(benchmark::State& state) {
  log::SegmentSummary summary;
  summary.file_id = 1;
  summary.end = Offset(kEntries * kOffsetsPerEntry);
  summary.bytes = std::uint64_t{kEntries} << 15;
  const std::vector<std::byte> file =
      log::encode_index(summary, sample_index(), log::ProducerTable());
  const CountAllocations count(state);
  for (auto _ : state)
    TIDELOG_CHECK(log::decode_index(file).has_value(), "a sample index is sound");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(file.size()));
}
BENCHMARK(index_decode);

// A log that takes 64 KiB batches, gives them to the journal and destages them at once.
class SampleTail {
 public:
  explicit SampleTail(BufferPool& pool) : tail(std::make_shared<LogTail>(pool, Offset(0))) {}

  void append() {
    const auto view = wire::BatchView::parse(batch_.bytes(), wire::kBatchBytesMax);
    tail->append(*view,
                 {.base_offset = tail->end(),
                  .leader_epoch = LeaderEpoch(1),
                  .append_time_us = 1,
                  .log_append_time_ms = std::nullopt},
                 kSeed);
  }
  void take() {
    pieces_.clear();
    benchmark::DoNotOptimize(tail->take(1 << 20, pieces_).checksum);
  }
  LogTail::Freed destage() {
    tail->seal();
    return tail->stable_until(tail->end());
  }

  const std::shared_ptr<LogTail> tail;

 private:
  const SharedBytes batch_ = sample_batch(64, 1000);
  std::vector<std::span<const std::byte>> pieces_;
};

void tail_append(benchmark::State& state) {
  BufferPool pool(64 << 20);
  SampleTail log(pool);
  const CountAllocations count(state);
  for (auto _ : state) {
    log.append();
    log.take();
    if (log.tail->unstable_bytes() < (1 << 20)) continue;
    log.destage();
    while (log.tail->evictable_bytes() > 0) log.tail->evict();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(tail_append);

void tail_read(benchmark::State& state) {
  BufferPool pool(64 << 20);
  SampleTail log(pool);
  for (int i = 0; i < 256; ++i) log.append();
  SeededRandom random(1);
  const CountAllocations count(state);
  for (auto _ : state) {
    const auto offset = static_cast<std::int64_t>(
        random.below(static_cast<std::uint64_t>(log.tail->end().value())));
    const auto read =
        log.tail->read(Offset(offset), {.up_to = log.tail->end(), .bytes_max = 1 << 20});
    benchmark::DoNotOptimize(read.bytes);
  }
}
BENCHMARK(tail_read);

// A full cache: what comes in pushes the oldest out.
void tail_cache_add(benchmark::State& state) {
  BufferPool pool(64 << 20);
  SampleTail log(pool);
  log::TailCache cache(4 << 20);
  const CountAllocations count(state);
  for (auto _ : state) {
    log.append();
    log.take();
    const LogTail::Freed stable = log.destage();
    cache.add(log.tail, stable.chunks, stable.bytes);
  }
}
BENCHMARK(tail_cache_add);

}  // namespace
}  // namespace tidelog::bench
