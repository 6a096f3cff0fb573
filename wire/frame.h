// Frames: what travels on a connection. A frame is a 32-byte prefix, one FlatBuffers table at byte
// 32, zeros up to the next multiple of 8, then raw bytes (record batches) up to its length.
//
//   offset  field
//   0       u32 magic "TIDE" (0x45444954)
//   4       u32 length of the whole frame
//   8       u64 correlation id; 0 = a notice from the broker
//   16      u16 API key
//   18      u16 API version
//   20      u16 flags: bit 0 answer, bit 1 more parts follow
//   22      u16 0
//   24      u32 table length
//   28      u32 low half of XXH3-64 over bytes 0-27 and the table
//
// All little-endian. PROTOCOL.md has worked examples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/buffer_pool.h"
#include "base/result.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace tidelog::wire {

inline constexpr std::size_t kFramePrefixBytes = 32;
inline constexpr std::uint32_t kFrameMagic = 0x45444954;

// Numbers are never reused. Gaps are kept for the rest of each group.
enum class ApiKey : std::uint16_t {
  kNotice = 0,
  kHello = 1,
  kPing = 2,
  kCancel = 4,
  kMetadata = 10,
  kCreateTopic = 11,
  kDeleteTopic = 12,
  kDescribeTopic = 13,
  kAlterTopic = 14,
  kAddPartitions = 15,
  kDeleteRecords = 16,
  kProduce = 20,
  kFetch = 21,
  kListOffsets = 22,
  kEpochEnd = 23,
  kInitProducerId = 24,
  kClusterStatus = 60,
  kBrokerSettings = 61,
};

struct ApiInfo {
  ApiKey key;
  std::string_view name;  // as in PROTOCOL.md and in metrics, such as "list_offsets"
  std::uint16_t version_min;
  std::uint16_t version_max;
};
// All APIs of this version, by key; what a hello answers.
std::span<const ApiInfo> api_table();
// Null for a key this version does not know.
const ApiInfo* api_info(std::uint16_t key);

enum FrameFlags : std::uint16_t {
  kFrameAnswer = 1,
  kFrameMoreParts = 2,
};

struct FramePrefix {
  std::uint32_t frame_bytes = 0;  // whole frame
  std::uint64_t correlation = 0;
  std::uint16_t api_key = 0;  // as sent: may be a key this version does not know
  std::uint16_t api_version = 0;
  std::uint16_t flags = 0;
  std::uint32_t table_bytes = 0;
  std::uint32_t checksum = 0;

  bool is_answer() const { return (flags & kFrameAnswer) != 0; }
  std::size_t raw_position() const;  // from the start of the frame
  std::size_t raw_bytes() const { return frame_bytes - raw_position(); }
};

// Looks at the first bytes of a stream or frame, as many as have come: a stranger may send fewer
// than a prefix has, and wait. Fails with kMalformedFrame as soon as no frame can begin so; the
// message names what was seen: HTTP, TLS, the Apache Kafka protocol, or the bytes.
Result<> check_frame_begin(std::span<const std::byte> bytes);

// Reads a prefix. Nothing may be allocated from its lengths before this succeeded.
// Fails with kMalformedFrame (wrong magic, as check_frame_begin(); unknown flags; lengths that
// contradict each other), kTooLarge (frame above `frame_bytes_max`).
Result<FramePrefix> decode_frame_prefix(std::span<const std::byte, kFramePrefixBytes> bytes,
                                        std::size_t frame_bytes_max);

// Checks the prefix's checksum over the prefix bytes and the table. `table` may go on with the
// padding, up to the raw position; then that must be zeros. REQUIRES: `table` has at least the
// prefix's table bytes. Fails with kChecksumMismatch.
Result<> check_frame(std::span<const std::byte, kFramePrefixBytes> prefix_bytes,
                     std::span<const std::byte> table);

// What names a frame that is about to be sent.
struct FrameHead {
  ApiKey api = ApiKey::kNotice;
  std::uint16_t version = 1;
  std::uint64_t correlation = 0;
  std::uint16_t flags = 0;
};

// Encodes prefix, table and padding as one piece of memory; the caller sends `raw_bytes` bytes of
// batches behind it. REQUIRES: `table` is finished.
SharedBytes encode_frame(const FrameHead& head, const flatbuffers::FlatBufferBuilder& table,
                         std::size_t raw_bytes, BufferPool& pool);
// The same for a table that is already bytes (a multiple of nothing in particular).
SharedBytes encode_frame(const FrameHead& head, std::span<const std::byte> table,
                         std::size_t raw_bytes, BufferPool& pool);

// Encodes frames of one thread; small ones share a block of memory until it is full, so that an
// answer of a hundred bytes does not keep 4 KiB.
class FrameEncoder {
 public:
  // `pool` outlives the encoder and its frames.
  explicit FrameEncoder(BufferPool& pool) : pool_(pool) {}

  // As encode_frame().
  SharedBytes encode(const FrameHead& head, const flatbuffers::FlatBufferBuilder& table,
                     std::size_t raw_bytes);

 private:
  BufferPool& pool_;
  Buffer block_;
  std::size_t used_ = 0;  // of block_
};

// Verifies `bytes` as a FlatBuffers table of type T (a generated type) and returns it, or null.
// `bytes` must stay alive and unchanged. REQUIRES: `bytes` is aligned to 8. Depth at most 16,
// tables at most bytes / 16. Defined in table_access.h, which includes FlatBuffers.
template <typename T>
const T* verified_table(std::span<const std::byte> bytes);

}  // namespace tidelog::wire
