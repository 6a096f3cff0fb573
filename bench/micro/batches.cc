// Checksum, records and their varints, batches, stamp.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "base/check.h"
#include "base/checksum.h"
#include "bench/micro/allocations.h"
#include "bench/micro/samples.h"
#include "wire/batch_builder.h"
#include "wire/limits.h"
#include "wire/record.h"
#include "wire/record_batch.h"

namespace tidelog::bench {

SharedBytes sample_batch(int records, std::size_t value_bytes) {
  static BufferPool pool(64 << 20);
  wire::BatchBuilder builder;
  const std::string value(value_bytes, 'v');
  for (int i = 0; i < records; ++i) {
    wire::RecordView record;
    record.value = value;
    builder.add(1'700'000'000'000 + i, record);
  }
  auto batch = builder.finish(wire::Codec::kNone, kSeed, {}, pool);
  TIDELOG_CHECK(batch.has_value(), "a sample batch is sound");
  return std::move(*batch);
}

namespace {

void checksum(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
  const CountAllocations count(state);
  for (auto _ : state) benchmark::DoNotOptimize(xxh3_64(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->Arg(88)->Arg(1024)->Arg(64 << 10)->Arg(1 << 20);

// A record of ten bytes is little but varints.
void record_encode(benchmark::State& state) {
  const std::string value(static_cast<std::size_t>(state.range(0)), 'v');
  wire::RecordView record;
  record.timestamp_delta_ms = 300;
  record.offset_delta = 100;
  record.value = value;
  std::vector<std::byte> out;
  out.reserve(wire::record_bytes(record));
  const CountAllocations count(state);
  for (auto _ : state) {
    out.clear();
    wire::append_record(record, out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(record_encode)->Arg(10)->Arg(100)->Arg(1000);

void record_read(benchmark::State& state) {
  constexpr int kRecords = 1000;
  const SharedBytes bytes = sample_batch(kRecords, static_cast<std::size_t>(state.range(0)));
  const auto batch = wire::BatchView::parse(bytes.bytes(), wire::kBatchBytesMax);
  TIDELOG_CHECK(batch.has_value(), "a sample batch is sound");
  wire::RecordView record;
  const CountAllocations count(state);
  for (auto _ : state) {
    wire::RecordReader reader(batch->records(), batch->record_count());
    while (reader.has_next())
      TIDELOG_CHECK(reader.next(record).has_value(), "a sample batch is sound");
    benchmark::DoNotOptimize(record.value);
  }
  state.SetItemsProcessed(state.iterations() * kRecords);
}
BENCHMARK(record_read)->Arg(10)->Arg(100)->Arg(1000);

// Arguments: records, bytes of a value.
void batch_build(benchmark::State& state) {
  BufferPool pool(64 << 20);
  wire::BatchBuilder builder;
  const std::string value(static_cast<std::size_t>(state.range(1)), 'v');
  wire::RecordView record;
  record.value = value;
  const CountAllocations count(state);
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) builder.add(1'700'000'000'000 + i, record);
    const auto batch = builder.finish(wire::Codec::kNone, kSeed, {}, pool);
    benchmark::DoNotOptimize(batch->data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
}
BENCHMARK(batch_build)->Args({1, 1000})->Args({64, 1000})->Args({600, 100});

// As a broker and as a consumer take a batch in: parsed, both checksums.
void batch_verify(benchmark::State& state) {
  const SharedBytes bytes = sample_batch(static_cast<int>(state.range(0)), 1000);
  const CountAllocations count(state);
  for (auto _ : state) {
    const auto batch = wire::BatchView::parse(bytes.bytes(), wire::kBatchBytesMax);
    benchmark::DoNotOptimize(wire::check_produced_batch(*batch, kSeed).has_value());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(batch_verify)->Arg(1)->Arg(64)->Arg(1000);

void stamp(benchmark::State& state) {
  const SharedBytes bytes = sample_batch(64, 1000);
  std::vector<std::byte> batch(bytes.bytes().begin(), bytes.bytes().end());
  std::int64_t offset = 0;
  const CountAllocations count(state);
  for (auto _ : state) {
    wire::stamp_batch(batch,
                      {.base_offset = Offset(offset += 64),
                       .leader_epoch = LeaderEpoch(1),
                       .append_time_us = offset,
                       .log_append_time_ms = std::nullopt},
                      kSeed);
    benchmark::DoNotOptimize(batch.data());
  }
}
BENCHMARK(stamp);

}  // namespace
}  // namespace tidelog::bench
