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

// Blocking. Thread: one.
class FileWindow {
 public:
  // `size` is how much of the file counts; nothing behind it is read.
  FileWindow(io::File& file, std::uint64_t size, std::size_t window_bytes = std::size_t{1} << 20);

  std::uint64_t size() const { return size_; }

  // The bytes [position, position + length); fewer where the file ends. Valid until the next call.
  Result<std::span<const std::byte>> at(std::uint64_t position, std::size_t length);

 private:
  io::File& file_;
  std::uint64_t size_;
  Buffer window_;
  std::uint64_t start_ = 0;
  std::size_t held_ = 0;
};

}  // namespace tidelog::log
