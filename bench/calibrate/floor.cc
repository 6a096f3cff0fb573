#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/bytes.h"
#include "base/checksum.h"
#include "bench/calibrate/calibrate.h"
#include "bench/calibrate/floor_server.h"
#include "bench/loopback_pair.h"
#include "bench/requests/produce_requests.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/record_batch.h"
#include "wire/table_access.h"

namespace tidelog::bench {
namespace {

namespace fb = wire::fb;

constexpr off_t kFileBytes = 256LL << 20;
// Of a plain request: u32 length of what follows the head, u32 zero, u64 id. Its answer is the id.
constexpr std::size_t kPlainHeadBytes = 16;
constexpr std::size_t kPlainAnswerBytes = 8;

class PlainProtocol : public FloorProtocol {
 public:
  std::size_t request_bytes(std::span<const std::byte> bytes) const override {
    if (bytes.size() < kPlainHeadBytes) return 0;
    const std::size_t whole = kPlainHeadBytes + load_le<std::uint32_t>(bytes.data());
    return bytes.size() < whole ? 0 : whole;
  }
  Content check(std::span<const std::byte> request) override {
    const auto stored = request.subspan(kPlainHeadBytes);
    hashes_ ^= xxh3_64(stored);
    return {.stored = stored, .id = load_le<std::uint64_t>(request.data() + 8)};
  }
  void answer(std::uint64_t id, std::vector<std::byte>& to) override {
    to.resize(to.size() + kPlainAnswerBytes);
    store_le<std::uint64_t>(to.data() + to.size() - kPlainAnswerBytes, id);
  }
  std::uint64_t hashes() const { return hashes_; }  // or they would not be computed

 private:
  std::uint64_t hashes_ = 0;
};

class PlainRequests : public RequestSource {
 public:
  PlainRequests(std::size_t bytes, std::size_t outstanding) : payload_(bytes), heads_(outstanding) {
    for (std::size_t i = 0; i < bytes; ++i) payload_[i] = static_cast<std::byte>(i * 131 + 7);
    for (std::size_t id = 0; id < outstanding; ++id) {
      store_le<std::uint32_t>(heads_[id].data(), static_cast<std::uint32_t>(bytes));
      store_le<std::uint64_t>(heads_[id].data() + 8, id);
    }
  }
  void append(std::size_t id, std::vector<iovec>& to) override {
    to.push_back({.iov_base = heads_[id].data(), .iov_len = kPlainHeadBytes});
    to.push_back({.iov_base = payload_.data(), .iov_len = payload_.size()});
  }
  std::size_t take_answers(std::span<const std::byte> bytes,
                           std::vector<std::size_t>& ids) override {
    const std::size_t whole = bytes.size() / kPlainAnswerBytes;
    for (std::size_t i = 0; i < whole; ++i) {
      ids.push_back(load_le<std::uint64_t>(bytes.data() + i * kPlainAnswerBytes));
    }
    return whole * kPlainAnswerBytes;
  }

 private:
  std::vector<std::byte> payload_;
  std::vector<std::array<std::byte, kPlainHeadBytes>> heads_;
};

// Our frames, checked as the broker checks them, and answered as it answers.
class FramedProtocol : public FloorProtocol {
 public:
  explicit FramedProtocol(const TopicPartition& partition)
      : partition_(partition), seed_(wire::batch_seed(partition)) {}

  std::size_t request_bytes(std::span<const std::byte> bytes) const override {
    if (bytes.size() < wire::kFramePrefixBytes) return 0;
    const std::size_t whole = prefix_of(bytes).frame_bytes;
    return bytes.size() < whole ? 0 : whole;
  }
  Content check(std::span<const std::byte> request) override {
    const wire::FramePrefix prefix = prefix_of(request);
    const auto table_bytes = request.subspan(wire::kFramePrefixBytes, prefix.table_bytes);
    if (!wire::check_frame(request.first<wire::kFramePrefixBytes>(), table_bytes)) {
      fail_with("a frame does not verify");
    }
    table_.resize((table_bytes.size() + 7) / 8);  // the inbox puts tables anywhere
    std::memcpy(table_.data(), table_bytes.data(), table_bytes.size());
    const auto* table = wire::verified_table<fb::ProduceRequest>(
        std::as_bytes(std::span(table_)).first(table_bytes.size()));
    if (table == nullptr || table->entries() == nullptr) fail_with("a table does not verify");
    const auto raw = request.subspan(prefix.raw_position());
    const auto batch = wire::BatchView::parse(raw, wire::kBatchBytesMax);
    if (!batch || !wire::check_produced_batch(*batch, seed_)) fail_with("a batch does not verify");
    return {.stored = raw, .id = prefix.correlation};
  }
  void answer(std::uint64_t id, std::vector<std::byte>& to) override {
    builder_.Clear();
    const fb::Uuid topic(
        flatbuffers::span<const std::uint8_t, 16>(partition_.topic.bytes.data(), 16));
    const auto result = fb::CreateProduceResult(builder_, &topic, partition_.partition.value(), 0,
                                                static_cast<std::int64_t>(id), 1, 0);
    const auto results = builder_.CreateVector(&result, 1);
    builder_.Finish(fb::CreateProduceAnswer(builder_, 0, results));
    const SharedBytes frame = encoder_.encode(
        {.api = wire::ApiKey::kProduce, .correlation = id, .flags = wire::kFrameAnswer}, builder_,
        0);
    to.insert(to.end(), frame.bytes().begin(), frame.bytes().end());
  }

 private:
  static wire::FramePrefix prefix_of(std::span<const std::byte> bytes) {
    const auto prefix =
        wire::decode_frame_prefix(bytes.first<wire::kFramePrefixBytes>(), wire::kFrameBytesMax);
    if (!prefix) fail_with(prefix.error().to_string());
    return *prefix;
  }

  const TopicPartition partition_;
  const std::uint64_t seed_;
  BufferPool pool_{1 << 20};
  wire::FrameEncoder encoder_{pool_};
  flatbuffers::FlatBufferBuilder builder_;
  std::vector<std::uint64_t> table_;
};

struct Floor {
  RequestResult client;
  double server_cpu_s = 0;
};

Floor measure(const ScratchFile& file, FloorProtocol& protocol, RequestSource& source,
              const RequestLoad& load) {
  const LoopbackPair pair;
  Floor floor;
  std::thread server([&] { floor.server_cpu_s = serve_floor(pair.far_end(), protocol, file); });
  floor.client = run_requests(pair.near_end(), source, load);
  shutdown(pair.near_end(), SHUT_WR);
  server.join();
  return floor;
}

Floor measure(const ScratchFile& file, bool is_framed, std::size_t bytes, const RequestLoad& load) {
  if (is_framed) {
    const TopicPartition partition{.topic = TopicId::random(), .partition = PartitionIndex(0)};
    FramedProtocol protocol(partition);
    ProduceRequests requests(std::span(&partition, 1), bytes, load.outstanding);
    return measure(file, protocol, requests, load);
  }
  PlainProtocol protocol;
  PlainRequests requests(bytes, load.outstanding);
  Floor floor = measure(file, protocol, requests, load);
  if (protocol.hashes() == 1) floor.server_cpu_s += 1e-12;
  return floor;
}

void add_batches(const ScratchFile& file, bool is_framed, double seconds, Limits& limits) {
  constexpr std::size_t kBatchBytes = 64 << 10;
  const Floor floor =
      measure(file, is_framed, kBatchBytes, {.outstanding = 32, .seconds = seconds});
  const double gigabytes = static_cast<double>(floor.client.requests * kBatchBytes) / 1e9;
  const std::string name = is_framed ? "framed_floor" : "floor";
  const std::string what = is_framed ? "B1" : "B";
  limits.push_back(
      {name + "_64k_mb_s", gigabytes * 1e3 / floor.client.seconds, 0,
       what + (is_framed ? ": as B with the frames, tables, checks and answers of our "
                           "protocol, and nothing else"
                         : ": one thread that receives 64 KiB requests, 32 "
                           "outstanding, hashes them, writes them durably into written "
                           "blocks, two writes in flight, and acknowledges")});
  limits.push_back({name + "_64k_cpu_s_per_gb", floor.server_cpu_s / gigabytes, 2,
                    what + ", CPU seconds per GB of that thread"});
}

void add_small(const ScratchFile& file, bool is_framed, std::size_t outstanding, double seconds,
               Limits& limits) {
  Floor floor = measure(file, is_framed, 1024, {.outstanding = outstanding, .seconds = seconds});
  const std::string name =
      fmt::format("{}_1k_{}", is_framed ? "framed_floor" : "floor", outstanding);
  const std::string what =
      fmt::format("{} with 1 KiB requests, {} outstanding", is_framed ? "B1" : "B", outstanding);
  limits.push_back({name + "_s", floor.client.per_s(), 0, what + ", per second"});
  limits.push_back(
      {name + "_p50_us", quantile_of(floor.client.latencies_us, 0.5), 0, what + ", median"});
  limits.push_back({name + "_p99_us", quantile_of(floor.client.latencies_us, 0.99), 0,
                    what + ", 99th percentile"});
}

}  // namespace

Limits measure_floor(const std::string& directory, double seconds) {
  const ScratchFile file(directory, "tidelog-floor.tmp", kFileBytes);
  file.write_all();
  Limits limits;
  for (const bool is_framed : {false, true}) {
    add_batches(file, is_framed, seconds, limits);
    for (const std::size_t outstanding : {1U, 32U, 512U}) {
      add_small(file, is_framed, outstanding, seconds, limits);
    }
  }
  return limits;
}

}  // namespace tidelog::bench
