#include "log/file_window.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kFirstBytes = std::size_t{64} << 10;
}

Result<std::size_t> read_around_damage(io::File& file, FilePosition position,
                                       std::span<std::byte> into) {
  auto read = file.read_at(position, into);
  if (read || read.error().code() != ErrorCode::kStorageFailed) return read;
  TIDELOG_ASSIGN(const std::uint64_t size, file.size());
  if (size <= position.value()) return 0;
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size - position.value()));
  for (std::size_t at = 0; at < length; at += io::kBlockBytes) {
    const auto block = into.subspan(at, io::kBlockBytes);
    if (!file.read_at(position + at, block)) std::ranges::fill(block, kUnreadableByte);
  }
  return length;
}

FileWindow::FileWindow(io::File& file, std::uint64_t size, std::size_t window_bytes,
                       Unreadable unreadable)
    : file_(file), size_(size), unreadable_(unreadable), window_(Buffer::allocate(window_bytes)) {}

Result<std::span<const std::byte>> FileWindow::at(std::uint64_t position, std::size_t length) {
  if (position >= size_) return std::span<const std::byte>{};
  length = static_cast<std::size_t>(std::min<std::uint64_t>(length, size_ - position));
  if (position < start_ || position + length > start_ + held_) {
    TIDELOG_TRY(move_to(align_down(position, io::kBlockBytes), position + length));
    if (position >= start_ + held_) return std::span<const std::byte>{};
    length = static_cast<std::size_t>(std::min<std::uint64_t>(length, start_ + held_ - position));
  }
  return window_.bytes().subspan(static_cast<std::size_t>(position - start_), length);
}

Result<> FileWindow::move_to(std::uint64_t start, std::uint64_t end) {
  // What the window has of it already is not read again: a walk reads each byte once.
  std::size_t kept = 0;
  if (start_ <= start && start < start_ + held_) {
    kept = static_cast<std::size_t>(align_down(start_ + held_ - start, io::kBlockBytes));
  }
  // Many a file is looked into at one place only; who walks on gets the window full.
  const bool walks = start_ <= start && start <= start_ + held_;
  ahead_ = walks ? std::max(2 * ahead_, kFirstBytes) : kFirstBytes;
  ahead_ = std::min(ahead_, window_.capacity());
  const std::byte* from = window_.data() + (kept > 0 ? start - start_ : 0);
  const auto needed = static_cast<std::size_t>(align_up(end - start, io::kBlockBytes));
  if (window_.capacity() < needed) {
    Buffer larger = Buffer::allocate(needed);
    if (kept > 0) std::memcpy(larger.data(), from, kept);
    window_ = std::move(larger);
  } else if (kept > 0) {
    std::memmove(window_.data(), from, kept);
  }
  start_ = start;
  held_ = kept;
  const FilePosition behind(start + kept);
  const std::span<std::byte> rest = window_.bytes().subspan(
      kept, std::max(needed - kept, std::min(ahead_, window_.capacity() - kept)));
  TIDELOG_ASSIGN(const std::size_t read, unreadable_ == Unreadable::kFails
                                             ? file_.read_at(behind, rest)
                                             : read_around_damage(file_, behind, rest));
  held_ = static_cast<std::size_t>(std::min<std::uint64_t>(kept + read, size_ - start));
  return {};
}

std::uint64_t FileWindow::next_data(std::uint64_t position) {
  if (position >= size_ || (start_ <= position && position < start_ + held_)) return position;
  const auto found = file_.next_data(FilePosition(position));
  if (!found) return position;  // whoever reads there is told
  return std::max(position, std::min(align_down(found->value(), io::kBlockBytes), size_));
}

}  // namespace tidelog::log
