#include "client/frame_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tidelog::client_core {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

Result<std::optional<Frame>> checked(const wire::FramePrefix& prefix, SharedBytes bytes) {
  const std::span<const std::byte> all = bytes.bytes();
  TIDELOG_TRY(wire::check_frame(
      all.first<wire::kFramePrefixBytes>(),
      all.subspan(wire::kFramePrefixBytes, prefix.raw_position() - wire::kFramePrefixBytes)));
  return Frame{prefix, std::move(bytes)};
}

}  // namespace

FrameReader::FrameReader(BufferPool& pool, std::size_t frame_bytes_max)
    : pool_(pool), frame_bytes_max_(frame_bytes_max), buffer_(pool.take(kBufferBytes)) {}

FrameReader::Room FrameReader::room() {
  if (large_) {
    const std::size_t missing = large_->frame_bytes - large_filled_;
    return {large_bytes_.bytes().subspan(large_filled_, missing), missing};
  }
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  return {buffer_.bytes().subspan(end_), 1};
}

void FrameReader::received(std::size_t count) { (large_ ? large_filled_ : end_) += count; }

Result<std::optional<Frame>> FrameReader::next() {
  if (large_) {
    if (large_filled_ < large_->frame_bytes) return std::nullopt;
    const wire::FramePrefix prefix = *std::exchange(large_, std::nullopt);
    return checked(prefix, std::exchange(large_bytes_, Buffer()).freeze(prefix.frame_bytes));
  }
  const std::size_t held = end_ - begin_;
  if (held < wire::kFramePrefixBytes) return std::nullopt;
  const std::byte* at = buffer_.data() + begin_;
  TIDELOG_ASSIGN(const wire::FramePrefix prefix,
                 wire::decode_frame_prefix(std::span<const std::byte, wire::kFramePrefixBytes>(
                                               at, wire::kFramePrefixBytes),
                                           frame_bytes_max_));
  Buffer frame = pool_.take(prefix.frame_bytes);
  const std::size_t taken = std::min<std::size_t>(held, prefix.frame_bytes);
  std::memcpy(frame.data(), at, taken);
  begin_ += taken;
  if (taken == prefix.frame_bytes) {
    return checked(prefix, std::move(frame).freeze(prefix.frame_bytes));
  }
  large_ = prefix;
  large_bytes_ = std::move(frame);
  large_filled_ = taken;
  return std::nullopt;
}

}  // namespace tidelog::client_core
