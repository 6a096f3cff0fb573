// The producer's accumulator: a record from produce() to its settled batch, without a broker.
#include "client/producer/accumulator.h"

#include <benchmark/benchmark.h>

#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "bench/micro/allocations.h"

namespace tidelog::bench {
namespace {

using client_core::Accumulator;
using client_core::Batch;
using client_core::PartitionQueue;

void settle(Accumulator& accumulator, PartitionQueue& partition) {
  while (std::unique_ptr<Batch> batch = accumulator.take_batch(partition)) {
    const std::size_t records = batch->records.size();
    const std::uint64_t epoch = batch->flush_epoch;
    accumulator.release_bytes(batch->charged_bytes);
    accumulator.settled(epoch, records);
    accumulator.recycle(std::move(batch));
  }
}

void accumulate(benchmark::State& state) {
  Accumulator accumulator(system_clock(), {});
  std::vector<client_core::FailedRecord> failed;
  accumulator.set_topic("t", {.partitions = 1, .with_leader = {0}}, failed);
  PartitionQueue& partition = *accumulator.partitions("t").front();
  client::Record record;
  record.topic = "t";
  record.value = std::string(static_cast<std::size_t>(state.range(0)), 'v');
  std::int64_t taken = 0;
  const CountAllocations count(state);
  for (auto _ : state) {
    client_core::RecordCallback callback;
    TIDELOG_CHECK(accumulator.add(record, callback).value_or(false), "there is room");
    // The record is kept by its caller in this benchmark: the accumulator only encodes it.
    if (++taken % 4096 == 0) settle(accumulator, partition);
  }
  settle(accumulator, partition);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(accumulate)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace tidelog::bench
