#include "wire/record_batch.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/checksum.h"
#include "wire/compression.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

constexpr std::size_t kHeaderChecksumPosition = 88;
constexpr std::uint16_t kKnownFlags = kBatchCrcValid | kBatchFromOtherProtocol;
constexpr std::uint16_t kKnownAttributes = kAttributeCodecMask | kAttributeLogAppendTime |
                                           kAttributeTransactional | kAttributeControl |
                                           kAttributeDeleteHorizon;
// Length, attributes, two deltas, two lengths and a header count of at least one byte each.
constexpr std::size_t kRecordBytesMin = 7;

std::uint64_t header_checksum(const std::byte* header, std::uint64_t seed) {
  return xxh3_64({header, kHeaderChecksumPosition}, seed);
}

// Checks what the header alone can show, beyond magic and sizes.
Result<> check_header_fields(const BatchHeader& header) {
  if ((header.flags & ~kKnownFlags) != 0 || (header.attributes & ~kKnownAttributes) != 0) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch has unknown flags {:#x} or attributes {:#x}",
                            header.flags, header.attributes));
  }
  if (!codec_supported(header.codec())) {
    return fail(ErrorCode::kUnsupportedCodec,
                fmt::format("a record batch is compressed by {}", codec_name(header.codec())));
  }
  if (header.record_count < 1 || header.record_count > kRecordsPerBatchMax ||
      header.last_offset_delta < header.record_count - 1) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch cannot have {} records and last offset delta {}",
                            header.record_count, header.last_offset_delta));
  }
  const bool compressed = header.codec() != Codec::kNone;
  const std::size_t uncompressed = compressed ? header.uncompressed_bytes : header.records_bytes;
  const std::size_t needed = static_cast<std::size_t>(header.record_count) * kRecordBytesMin;
  if (header.records_bytes == 0 || uncompressed > kUncompressedBatchBytesMax ||
      (uncompressed != 0 && uncompressed < needed) ||
      (!compressed && header.uncompressed_bytes != 0 &&
       header.uncompressed_bytes != header.records_bytes)) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch cannot have {} records in {} bytes, {} uncompressed",
                            header.record_count, header.records_bytes, header.uncompressed_bytes));
  }
  constexpr std::int64_t kOffsetMax =
      std::numeric_limits<std::int64_t>::max() - std::numeric_limits<std::int32_t>::max() - 1;
  if (header.base_offset.value() < 0 || header.base_offset.value() > kOffsetMax) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch has base offset {}", header.base_offset.value()));
  }
  return {};
}

BatchHeader load_header(const std::byte* at) {
  BatchHeader header;
  header.flags = load_le<std::uint16_t>(at + 6);
  header.records_checksum = load_le<std::uint64_t>(at + 8);
  header.records_bytes = load_le<std::uint32_t>(at + 16);
  header.crc32c = load_le<std::uint32_t>(at + 20);
  header.base_offset = Offset(load_le<std::int64_t>(at + 24));
  header.leader_epoch = LeaderEpoch(load_le<std::int32_t>(at + 32));
  header.last_offset_delta = load_le<std::int32_t>(at + 36);
  header.base_timestamp_ms = load_le<std::int64_t>(at + 40);
  header.max_timestamp_ms = load_le<std::int64_t>(at + 48);
  header.producer_id = ProducerId(load_le<std::int64_t>(at + 56));
  header.base_sequence = load_le<std::int32_t>(at + 64);
  header.producer_epoch = load_le<std::int16_t>(at + 68);
  header.attributes = load_le<std::uint16_t>(at + 70);
  header.record_count = load_le<std::int32_t>(at + 72);
  header.uncompressed_bytes = load_le<std::uint32_t>(at + 76);
  header.append_time_us = load_le<std::int64_t>(at + 80);
  return header;
}

}  // namespace

std::uint64_t batch_seed(const TopicPartition& partition) {
  std::array<std::byte, 20> name;
  std::memcpy(name.data(), partition.topic.bytes.data(), 16);
  store_le<std::int32_t>(name.data() + 16, partition.partition.value());
  return xxh3_64(name);
}

void encode_batch_header(const BatchHeader& header, std::uint64_t seed, std::byte* to) {
  store_le<std::uint32_t>(to, kBatchMagic);
  store_le<std::uint8_t>(to + 4, kBatchVersion);
  store_le<std::uint8_t>(to + 5, kBatchHeaderBytes / 8);
  store_le<std::uint16_t>(to + 6, header.flags);
  store_le<std::uint64_t>(to + 8, header.records_checksum);
  store_le<std::uint32_t>(to + 16, header.records_bytes);
  store_le<std::uint32_t>(to + 20, header.crc32c);
  store_le<std::int64_t>(to + 24, header.base_offset.value());
  store_le<std::int32_t>(to + 32, header.leader_epoch.value());
  store_le<std::int32_t>(to + 36, header.last_offset_delta);
  store_le<std::int64_t>(to + 40, header.base_timestamp_ms);
  store_le<std::int64_t>(to + 48, header.max_timestamp_ms);
  store_le<std::int64_t>(to + 56, header.producer_id.value());
  store_le<std::int32_t>(to + 64, header.base_sequence);
  store_le<std::int16_t>(to + 68, header.producer_epoch);
  store_le<std::uint16_t>(to + 70, header.attributes);
  store_le<std::int32_t>(to + 72, header.record_count);
  store_le<std::uint32_t>(to + 76, header.uncompressed_bytes);
  store_le<std::int64_t>(to + 80, header.append_time_us);
  store_le<std::uint64_t>(to + kHeaderChecksumPosition, header_checksum(to, seed));
}

Result<BatchView> BatchView::parse(std::span<const std::byte> bytes, std::size_t batch_bytes_max) {
  if (bytes.size() >= 4 && load_le<std::uint32_t>(bytes.data()) != kBatchMagic) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch must begin with \"TIDB\", but {:08x} was found",
                            load_le<std::uint32_t>(bytes.data())));
  }
  if (bytes.size() < kBatchHeaderBytes) {
    return fail(ErrorCode::kEndOfFile,
                fmt::format("{} bytes end within a record batch's header", bytes.size()));
  }
  const auto version = load_le<std::uint8_t>(bytes.data() + 4);
  const auto header_words = load_le<std::uint8_t>(bytes.data() + 5);
  if (version != kBatchVersion || header_words != kBatchHeaderBytes / 8) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record batch has version {} and a header of {} bytes", version,
                            header_words * 8));
  }
  const BatchHeader header = load_header(bytes.data());
  if (header.batch_bytes() > batch_bytes_max) {
    return fail(ErrorCode::kBatchTooLarge,
                fmt::format("a record batch of {} bytes is above the limit of {} bytes",
                            header.batch_bytes(), batch_bytes_max));
  }
  TIDELOG_TRY(check_header_fields(header));
  if (header.batch_bytes() > bytes.size()) {
    return fail(ErrorCode::kEndOfFile, fmt::format("{} bytes end within a record batch of {} bytes",
                                                   bytes.size(), header.batch_bytes()));
  }
  return BatchView(bytes.first(header.batch_bytes()));
}

BatchHeader BatchView::header() const { return load_header(bytes_.data()); }

bool BatchView::header_sound(std::uint64_t seed) const {
  return header_checksum(bytes_.data(), seed) ==
         load_le<std::uint64_t>(bytes_.data() + kHeaderChecksumPosition);
}

bool BatchView::records_sound() const {
  return xxh3_64(records()) == load_le<std::uint64_t>(bytes_.data() + 8);
}

Result<> BatchView::verify(std::uint64_t seed) const {
  if (!header_sound(seed)) {
    return fail(ErrorCode::kChecksumMismatch,
                fmt::format("the header checksum of the record batch at offset {} is wrong, or the "
                            "batch belongs to another partition",
                            base_offset().value()));
  }
  if (!records_sound()) {
    return fail(ErrorCode::kChecksumMismatch,
                fmt::format("the records checksum of the record batch at offset {} is wrong",
                            base_offset().value()));
  }
  return {};
}

Result<> check_produced_batch(const BatchView& batch, std::uint64_t seed) {
  TIDELOG_TRY(batch.verify(seed));
  const BatchHeader header = batch.header();
  if (header.base_offset.value() != 0 || header.leader_epoch.value() != 0 ||
      header.append_time_us != 0) {
    return fail(ErrorCode::kInvalidBatch,
                "a producer must leave base offset, leader epoch and append time 0");
  }
  if (header.flags != 0 || (header.attributes & ~kAttributeCodecMask) != 0) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a producer must not set flags {:#x} or attributes {:#x}", header.flags,
                            header.attributes & ~kAttributeCodecMask));
  }
  if (header.crc32c != 0) {
    return fail(ErrorCode::kInvalidBatch, "a record batch has a CRC32C without the flag for it");
  }
  if (header.last_offset_delta != header.record_count - 1) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a producer's batch of {} records has last offset delta {}",
                            header.record_count, header.last_offset_delta));
  }
  const bool identified = header.producer_id.value() >= 0;
  if (identified ? header.producer_epoch < 0 || header.base_sequence < 0
                 : header.producer_id.value() != -1 || header.producer_epoch != -1 ||
                       header.base_sequence != -1) {
    return fail(
        ErrorCode::kInvalidBatch,
        fmt::format("producer id {}, epoch {} and sequence {} contradict each other",
                    header.producer_id.value(), header.producer_epoch, header.base_sequence));
  }
  return {};
}

void stamp_batch(std::span<std::byte> batch, const BatchStamp& stamp, std::uint64_t seed) {
  TIDELOG_CHECK(batch.size() > kBatchHeaderBytes, "only a whole batch can be stamped");
  std::byte* to = batch.data();
  store_le<std::int64_t>(to + 24, stamp.base_offset.value());
  store_le<std::int32_t>(to + 32, stamp.leader_epoch.value());
  store_le<std::int64_t>(to + 80, stamp.append_time_us);
  if (stamp.log_append_time_ms) {
    store_le<std::int64_t>(to + 48, *stamp.log_append_time_ms);
    const auto attributes = load_le<std::uint16_t>(to + 70);
    store_le<std::uint16_t>(to + 70,
                            static_cast<std::uint16_t>(attributes | kAttributeLogAppendTime));
  }
  store_le<std::uint64_t>(to + kHeaderChecksumPosition, header_checksum(to, seed));
}

}  // namespace tidelog::wire
