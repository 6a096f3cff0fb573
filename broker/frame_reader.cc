#include "broker/frame_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog::broker {

Result<std::optional<wire::FramePrefix>> FrameReader::peek(std::size_t frame_bytes_max) {
  if (prefix_) return prefix_;
  if (available() < wire::kFramePrefixBytes) {
    if (available() > 0) {
      TIDELOG_TRY(wire::check_frame_begin({buffer_.data() + begin_, available()}));
    }
    return std::nullopt;
  }
  const std::span<const std::byte, wire::kFramePrefixBytes> bytes(buffer_.data() + begin_,
                                                                  wire::kFramePrefixBytes);
  TIDELOG_ASSIGN(prefix_, wire::decode_frame_prefix(bytes, frame_bytes_max));
  return prefix_;
}

Result<std::optional<Frame>> FrameReader::take() {
  TIDELOG_CHECK(prefix_ && admitted_, "a frame is taken only after it was admitted");
  const std::size_t head_bytes = prefix_->raw_position();
  const std::size_t raw_bytes = prefix_->raw_bytes();
  if (!checked_) {
    if (available() < head_bytes) return std::nullopt;
    const std::byte* at = buffer_.data() + begin_;
    TIDELOG_TRY(wire::check_frame(
        std::span<const std::byte, wire::kFramePrefixBytes>(at, wire::kFramePrefixBytes),
        {at + wire::kFramePrefixBytes, head_bytes - wire::kFramePrefixBytes}));
    checked_ = true;
    if (raw_bytes >= kOwnPayloadBytesMin && available() < prefix_->frame_bytes) {
      payload_ = pool_.take(raw_bytes);
      payload_filled_ = available() - head_bytes;
      std::memcpy(payload_.data(), at + head_bytes, payload_filled_);
      // Large frames come: read little beyond a head, so that little has to be copied.
      chunk_bytes_ = kChunkBytesMin;
    }
  }
  Frame frame{.prefix = *prefix_, .table = {}, .raw = {}};
  if (payload_) {
    if (payload_filled_ < raw_bytes) return std::nullopt;
    frame.table = aligned_table();
    frame.raw = std::move(payload_).freeze(raw_bytes);
    finish_frame(available());
  } else {
    if (available() < prefix_->frame_bytes) return std::nullopt;
    frame.table = aligned_table();
    if (raw_bytes > 0) {
      frame.raw = buffer_.view(begin_ + head_bytes, raw_bytes);
      has_views_ = true;
    }
    finish_frame(prefix_->frame_bytes);
  }
  return frame;
}

void FrameReader::finish_frame(std::size_t buffered_bytes) {
  begin_ += buffered_bytes;
  prefix_.reset();
  admitted_ = false;
  checked_ = false;
  payload_ = Buffer();
  payload_filled_ = 0;
}

std::span<const std::byte> FrameReader::aligned_table() {
  const std::byte* at = buffer_.data() + begin_ + wire::kFramePrefixBytes;
  const std::size_t bytes = prefix_->table_bytes;
  if (begin_ % 8 == 0) return {at, bytes};
  table_copy_.resize((bytes + 7) / 8);
  if (bytes > 0) std::memcpy(table_copy_.data(), at, bytes);
  return std::as_bytes(std::span(table_copy_)).first(bytes);
}

FrameReader::Space FrameReader::space() {
  if (payload_) {
    const std::size_t missing = prefix_->raw_bytes() - payload_filled_;
    return {payload_.bytes().subspan(payload_filled_, missing), missing};
  }
  std::size_t needed = wire::kFramePrefixBytes;
  if (prefix_) needed = checked_ ? std::size_t{prefix_->frame_bytes} : prefix_->raw_position();
  if (available() == 0) {
    const bool reusable = buffer_ && !has_views_ && buffer_.capacity() <= 4 * chunk_bytes_;
    const bool roomy =
        buffer_ && has_views_ && buffer_.capacity() - end_ >= std::max(needed, chunk_bytes_ / 4);
    if (reusable) {
      begin_ = end_ = 0;
    } else if (!roomy) {
      buffer_ = Buffer();
      begin_ = end_ = 0;
    }
  }
  make_contiguous(needed);
  // The first byte of a frame is heard of alone: from then on its sender owes the rest.
  return {buffer_.bytes().subspan(end_), available() == 0 ? 1 : needed - available()};
}

void FrameReader::make_contiguous(std::size_t bytes) {
  if (buffer_ && begin_ + bytes <= buffer_.capacity()) return;
  Buffer larger = pool_.take(std::max(bytes, chunk_bytes_));
  if (available() > 0) std::memcpy(larger.data(), buffer_.data() + begin_, available());
  end_ = available();
  begin_ = 0;
  has_views_ = false;
  buffer_ = std::move(larger);
}

std::vector<std::byte> FrameReader::take_rest() {
  TIDELOG_CHECK(!admitted_, "a frame is taken whole or not at all");
  std::vector<std::byte> rest;
  if (available() > 0) rest.assign(buffer_.data() + begin_, buffer_.data() + end_);
  begin_ = end_ = 0;
  has_views_ = false;
  buffer_ = Buffer();
  prefix_.reset();
  return rest;
}

void FrameReader::begin_with(std::span<const std::byte> bytes) {
  TIDELOG_CHECK(!buffer_, "what was received elsewhere comes first");
  if (bytes.empty()) return;
  buffer_ = pool_.take(std::max(bytes.size(), chunk_bytes_));
  std::ranges::copy(bytes, buffer_.data());
  end_ = bytes.size();
}

void FrameReader::received(std::size_t bytes) {
  if (payload_) {
    payload_filled_ += bytes;
    return;
  }
  const bool filled = end_ + bytes == buffer_.capacity();
  end_ += bytes;
  if (filled) {
    chunk_bytes_ = std::min(kChunkBytesMax, chunk_bytes_ * 4);
  } else if (bytes < chunk_bytes_ / 8) {
    chunk_bytes_ = std::max(kChunkBytesMin, chunk_bytes_ / 2);
  }
}

}  // namespace tidelog::broker
