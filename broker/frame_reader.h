// Cuts a received byte stream into frames with few receives and few copies.
//
// Small frames arrive many at a time in one receive buffer and are handed out as slices of it. The
// raw bytes of a large frame get a pooled, aligned buffer of their own, into which the rest of them
// is received directly. Nothing is allocated from a length before the prefix was found sound and
// the owner admitted it; the payload's buffer not before the table's checksum was found right.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer_pool.h"
#include "base/result.h"
#include "wire/frame.h"

namespace tidelog::broker {

// A whole frame whose checksum is right.
struct Frame {
  wire::FramePrefix prefix;
  std::span<const std::byte> table;  // aligned to 8; valid until the reader's next call
  SharedBytes raw;
};

// Thread: its connection's.
class FrameReader {
 public:
  explicit FrameReader(BufferPool& pool) : pool_(pool) {}

  // The prefix of the next frame once it is there; nullopt: receive more. May be called repeatedly.
  // Fails as wire::decode_frame_prefix and check_frame_begin; then the stream is lost.
  Result<std::optional<wire::FramePrefix>> peek(std::size_t frame_bytes_max);

  // Allows the frame that peek() showed to take memory.
  void admit() { admitted_ = true; }
  bool admitted() const { return admitted_; }

  // The admitted frame once it is there whole; nullopt: receive more.
  // Fails with kChecksumMismatch; then the stream is lost.
  Result<std::optional<Frame>> take();

  // Where to receive next, and how many bytes are needed at least to go on.
  // REQUIRES: peek() or take() just answered nullopt.
  struct Space {
    std::span<std::byte> into;
    std::size_t bytes_min;
  };
  Space space();
  void received(std::size_t bytes);

  // What has arrived and was not taken; the reader is empty afterwards. REQUIRES: no frame is
  // admitted.
  std::vector<std::byte> take_rest();
  // Begins with bytes that another reader received. REQUIRES: nothing was received yet.
  void begin_with(std::span<const std::byte> bytes);

  // True when part of a frame has arrived: its sender owes the rest.
  bool inside_frame() const { return end_ > begin_ || prefix_.has_value(); }
  // Bytes of the frame being received, as far as known.
  std::size_t frame_bytes() const {
    return prefix_ ? prefix_->frame_bytes : wire::kFramePrefixBytes;
  }

 private:
  static constexpr std::size_t kChunkBytesMin = 4096;
  static constexpr std::size_t kChunkBytesMax = 64 * 1024;
  // Raw bytes from this size on get a buffer of their own.
  static constexpr std::size_t kOwnPayloadBytesMin = 16 * 1024;

  std::size_t available() const { return end_ - begin_; }
  // Makes room for a frame part of `bytes` from begin_ on, in one piece.
  void make_contiguous(std::size_t bytes);
  std::span<const std::byte> aligned_table();
  void finish_frame(std::size_t buffered_bytes);

  BufferPool& pool_;
  Buffer buffer_;
  std::size_t begin_ = 0;   // of the frame being read
  std::size_t end_ = 0;     // of what was received
  bool has_views_ = false;  // slices of buffer_ were handed out: it must not be written again
  std::size_t chunk_bytes_ = kChunkBytesMin;

  std::optional<wire::FramePrefix> prefix_;
  bool admitted_ = false;
  bool checked_ = false;
  Buffer payload_;  // of a large frame
  std::size_t payload_filled_ = 0;
  std::vector<std::uint64_t> table_copy_;  // of a table that lies at an odd position
};

}  // namespace tidelog::broker
