// Frames: how requests and answers are made and taken apart.
#include <benchmark/benchmark.h>
#include <flatbuffers/flatbuffers.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "bench/micro/allocations.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/table_access.h"

namespace tidelog::bench {
namespace {

namespace fb = wire::fb;

void build_produce_request(flatbuffers::FlatBufferBuilder& to) {
  const std::array<std::uint8_t, 16> id{1, 2, 3};
  const fb::ProduceEntry entry(fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id)), 0, 1024);
  const auto entries = to.CreateVectorOfStructs(&entry, 1);
  to.Finish(fb::CreateProduceRequest(to, fb::Acks::All, 0, entries));
}

// A builder and an encoder that are used again, as connections do.
void frame_encode(benchmark::State& state) {
  BufferPool pool(1 << 20);
  wire::FrameEncoder encoder(pool);
  flatbuffers::FlatBufferBuilder builder;
  std::uint64_t correlation = 0;
  const CountAllocations count(state);
  for (auto _ : state) {
    builder.Clear();
    build_produce_request(builder);
    const SharedBytes frame = encoder.encode(
        {.api = wire::ApiKey::kProduce, .correlation = ++correlation}, builder, 1024);
    benchmark::DoNotOptimize(frame.data());
  }
}
BENCHMARK(frame_encode);

void frame_decode(benchmark::State& state) {
  BufferPool pool(1 << 20);
  flatbuffers::FlatBufferBuilder builder;
  build_produce_request(builder);
  const SharedBytes frame =
      wire::encode_frame({.api = wire::ApiKey::kProduce, .correlation = 1}, builder, 0, pool);
  const CountAllocations count(state);
  for (auto _ : state) {
    const auto prefix_bytes = frame.bytes().first<wire::kFramePrefixBytes>();
    const auto prefix = wire::decode_frame_prefix(prefix_bytes, wire::kFrameBytesMax);
    TIDELOG_CHECK(prefix.has_value(), "a sample frame is sound");
    const auto table = frame.bytes().subspan(wire::kFramePrefixBytes, prefix->table_bytes);
    TIDELOG_CHECK(wire::check_frame(prefix_bytes, table).has_value(), "a sample frame is sound");
    const auto* request = wire::verified_table<fb::ProduceRequest>(table);
    TIDELOG_CHECK(request != nullptr, "a sample frame is sound");
    benchmark::DoNotOptimize(request->entries()->Get(0)->bytes());
  }
}
BENCHMARK(frame_decode);

}  // namespace
}  // namespace tidelog::bench
