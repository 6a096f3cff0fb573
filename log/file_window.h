// Reads a file through one aligned window, so that unbuffered files can be walked at any byte
// position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer_pool.h"
#include "base/result.h"
#include "log/io/file_system.h"

namespace tidelog::log {

// What to do with blocks that the device cannot read.
enum class Unreadable : std::uint8_t {
  kFails,      // kStorageFailed
  kIsUnsound,  // gives bytes that nothing verifies, and that are not zeros
};

// File::read_at(), but blocks that cannot be read hold kUnreadableByte instead. REQUIRES: whole
// blocks. Blocking.
inline constexpr std::byte kUnreadableByte{0xFF};
Result<std::size_t> read_around_damage(io::File& file, FilePosition position,
                                       std::span<std::byte> into);

// Blocking. Thread: one.
class FileWindow {
 public:
  // `size` is how much of the file counts; nothing behind it is read.
  FileWindow(io::File& file, std::uint64_t size, std::size_t window_bytes = std::size_t{1} << 20,
             Unreadable unreadable = Unreadable::kFails);

  std::uint64_t size() const { return size_; }

  // The bytes [position, position + length); fewer where the file ends. Valid until the next call.
  Result<std::span<const std::byte>> at(std::uint64_t position, std::size_t length);

  // Where a walk from block to block that looks for what was written may go on from `position`: all
  // up to there is zeros, and was not read. The file's size, at least, where nothing follows.
  std::uint64_t next_data(std::uint64_t position);

 private:
  // Reads from `start` on, a block's begin, up to `end` at the least.
  Result<> move_to(std::uint64_t start, std::uint64_t end);

  io::File& file_;
  std::uint64_t size_;
  Unreadable unreadable_;
  Buffer window_;
  std::uint64_t start_ = 0;
  std::size_t held_ = 0;
  std::size_t ahead_ = 0;  // what the last move read, at the least
};

}  // namespace tidelog::log
