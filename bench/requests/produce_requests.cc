#include "bench/requests/produce_requests.h"

#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/random.h"
#include "bench/support.h"
#include "wire/batch_builder.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/table_access.h"

namespace tidelog::bench {
namespace {

namespace fb = wire::fb;

constexpr std::size_t kRecordBytes = 1000;
constexpr std::size_t kCorrelationPosition = 8;
constexpr std::size_t kChecksumPosition = 28;

BufferPool& pool() {
  static BufferPool shared(1 << 20);
  return shared;
}

SharedBytes make_head(const TopicPartition& partition, std::size_t batch_bytes) {
  flatbuffers::FlatBufferBuilder to;
  const fb::Uuid topic(flatbuffers::span<const std::uint8_t, 16>(partition.topic.bytes.data(), 16));
  const fb::ProduceEntry entry(topic, partition.partition.value(),
                               static_cast<std::uint32_t>(batch_bytes));
  const auto entries = to.CreateVectorOfStructs(&entry, 1);
  to.Finish(fb::CreateProduceRequest(to, fb::Acks::All, 0, entries));
  return wire::encode_frame({.api = wire::ApiKey::kProduce, .correlation = 1}, to, batch_bytes,
                            pool());
}

// Ends the process where the request was not done.
void check_answer(std::span<const std::byte> table) {
  // The inbox puts tables anywhere.
  std::vector<std::uint64_t> aligned((table.size() + 7) / 8);
  std::memcpy(aligned.data(), table.data(), table.size());
  const auto* answer = wire::verified_table<fb::ProduceAnswer>(
      std::as_bytes(std::span(aligned)).first(table.size()));
  if (answer == nullptr) fail_with("an answer to a produce request is malformed");
  const auto is_ok = [](const fb::Status* status) {
    return status == nullptr || status->code() == 0;
  };
  const fb::Status* status = answer->status();
  if (is_ok(status) && answer->results() != nullptr && answer->results()->size() == 1) {
    status = answer->results()->Get(0)->status();
    if (is_ok(status)) return;
  }
  fail_with(fmt::format("a produce request was refused: {}",
                        status != nullptr && status->message() != nullptr
                            ? status->message()->string_view()
                            : "without a word"));
}

}  // namespace

SharedBytes make_batch(const TopicPartition& partition, std::size_t batch_bytes) {
  SeededRandom random(batch_bytes + static_cast<std::uint64_t>(partition.partition.value()));
  wire::BatchBuilder builder;
  std::string value;
  for (;;) {
    // With one record more than this the batch would be too large, by its varints at the most.
    constexpr std::size_t kOverheadMax = 12;
    const std::size_t left = batch_bytes - std::min(batch_bytes, builder.size() + kOverheadMax);
    if (left == 0 && !builder.empty()) break;
    value.resize(std::clamp(left, std::size_t{1}, kRecordBytes));
    for (char& byte : value) byte = static_cast<char>(' ' + random.below(64));
    wire::RecordView record;
    record.value = value;
    builder.add(1'700'000'000'000, record);
  }
  auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(partition), {}, pool());
  if (!batch) fail_with(batch.error().to_string());
  return std::move(*batch);
}

ProduceRequests::ProduceRequests(std::span<const TopicPartition> partitions,
                                 std::size_t batch_bytes, std::size_t outstanding)
    : heads_(outstanding) {
  for (const TopicPartition& partition : partitions) {
    SharedBytes batch = make_batch(partition, batch_bytes);
    SharedBytes head = make_head(partition, batch.size());
    requests_.push_back({.head = std::move(head), .batch = std::move(batch)});
  }
}

void ProduceRequests::append(std::size_t id, std::vector<iovec>& to) {
  const Request& request = requests_[next_];
  next_ = (next_ + 1) % requests_.size();
  std::vector<std::byte>& head = heads_[id];
  head.assign(request.head.bytes().begin(), request.head.bytes().end());
  store_le<std::uint64_t>(head.data() + kCorrelationPosition, id + 1);
  const auto table_bytes = load_le<std::uint32_t>(head.data() + 24);
  const std::span<const std::byte> bytes(head);
  store_le<std::uint32_t>(
      head.data() + kChecksumPosition,
      static_cast<std::uint32_t>(xxh3_64_of_two(
          bytes.first(kChecksumPosition), bytes.subspan(wire::kFramePrefixBytes, table_bytes))));
  to.push_back({.iov_base = head.data(), .iov_len = head.size()});
  to.push_back(
      {.iov_base = const_cast<std::byte*>(request.batch.data()), .iov_len = request.batch.size()});
}

std::size_t ProduceRequests::take_answers(std::span<const std::byte> bytes,
                                          std::vector<std::size_t>& ids) {
  std::size_t taken = 0;
  while (bytes.size() - taken >= wire::kFramePrefixBytes) {
    const auto frame = bytes.subspan(taken);
    const auto prefix =
        wire::decode_frame_prefix(frame.first<wire::kFramePrefixBytes>(), wire::kFrameBytesMax);
    if (!prefix) fail_with(prefix.error().to_string());
    if (frame.size() < prefix->frame_bytes) break;
    taken += prefix->frame_bytes;
    if (prefix->correlation == 0) continue;  // a notice
    check_answer(frame.subspan(wire::kFramePrefixBytes, prefix->table_bytes));
    ids.push_back(prefix->correlation - 1);
  }
  return taken;
}

}  // namespace tidelog::bench
