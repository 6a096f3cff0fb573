#include "log/file_window.h"

#include <algorithm>

#include "base/bytes.h"

namespace tidelog::log {

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
    const std::uint64_t start = align_down(position, io::kBlockBytes);
    const auto needed =
        static_cast<std::size_t>(align_up(position + length - start, io::kBlockBytes));
    if (window_.capacity() < needed) window_ = Buffer::allocate(needed);
    TIDELOG_ASSIGN(const std::size_t read,
                   unreadable_ == Unreadable::kFails
                       ? file_.read_at(FilePosition(start), window_.bytes())
                       : read_around_damage(file_, FilePosition(start), window_.bytes()));
    start_ = start;
    held_ = static_cast<std::size_t>(std::min<std::uint64_t>(read, size_ - start));
    if (position >= start_ + held_) return std::span<const std::byte>{};
    length = static_cast<std::size_t>(std::min<std::uint64_t>(length, start_ + held_ - position));
  }
  return window_.bytes().subspan(static_cast<std::size_t>(position - start_), length);
}

}  // namespace tidelog::log
