// Whole frames out of the bytes that a broker sends, however the network cut them up.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "base/buffer_pool.h"
#include "base/result.h"
#include "wire/frame.h"

namespace tidelog::client_core {

struct Frame {
  wire::FramePrefix prefix;
  SharedBytes bytes;  // all of it, aligned to 8

  SharedBytes table() const { return bytes.slice(wire::kFramePrefixBytes, prefix.table_bytes); }
  SharedBytes raw() const { return bytes.slice(prefix.raw_position(), prefix.raw_bytes()); }
};

class FrameReader {
 public:
  // `pool` must outlive this and the frames. Larger frames than `frame_bytes_max` are refused.
  FrameReader(BufferPool& pool, std::size_t frame_bytes_max);

  void set_frame_bytes_max(std::size_t bytes) { frame_bytes_max_ = bytes; }

  // Where the next bytes go, and how many there must be at least. Valid until next().
  struct Room {
    std::span<std::byte> into;
    std::size_t bytes_min;
  };
  // REQUIRES: next() found nothing since the last bytes came.
  Room room();
  // So many bytes came to where room() said.
  void received(std::size_t count);
  // The next frame; nullopt: more bytes are needed. Fails with kMalformedFrame and
  // kChecksumMismatch, after which the stream cannot be read on.
  Result<std::optional<Frame>> next();

 private:
  BufferPool& pool_;
  std::size_t frame_bytes_max_;
  Buffer buffer_;  // received and not looked at: from begin_ to end_
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  // A frame that is larger than what the buffer held of it is received into a place of its own.
  std::optional<wire::FramePrefix> large_;
  Buffer large_bytes_;
  std::size_t large_filled_ = 0;
};

}  // namespace tidelog::client_core
