#include "log/io/gather_cursor.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog::log::io {
namespace {

constexpr std::size_t kPiecesPerCall = 1024;  // IOV_MAX
constexpr std::uint64_t kSectorBytes = 512;

}  // namespace

void GatherCursor::reset(FilePosition position,
                         std::span<const std::span<const std::byte>> pieces) {
  pieces_.clear();
  next_ = 0;
  position_ = position;
  for (const std::span<const std::byte> piece : pieces) {
    if (piece.empty()) continue;
    // The kernel's type has no const; writes leave the memory alone.
    pieces_.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
  }
}

std::span<const iovec> GatherCursor::next() const {
  return std::span(pieces_).subspan(next_, std::min(kPiecesPerCall, pieces_.size() - next_));
}

bool GatherCursor::advance(std::uint64_t bytes) {
  bytes = align_down(bytes, kSectorBytes);
  if (bytes == 0) return false;
  position_ += bytes;
  while (bytes > 0) {
    TIDELOG_CHECK(!done(), "the kernel wrote more than it was given");
    iovec& piece = pieces_[next_];
    const std::size_t part =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes, piece.iov_len));
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + part;
    piece.iov_len -= part;
    bytes -= part;
    if (piece.iov_len == 0) ++next_;
  }
  return true;
}

}  // namespace tidelog::log::io
