#include "log/io/io_requirements.h"

#include "base/check.h"
#include "log/io/file_system.h"

namespace tidelog::log::io {
namespace {

constexpr std::size_t kPieceUnitBytes = 512;

bool aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % kBlockBytes == 0;
}

}  // namespace

std::uint64_t check_write_request(FilePosition position,
                                  std::span<const std::span<const std::byte>> pieces) {
  TIDELOG_CHECK(position.value() % kBlockBytes == 0, "a write begins inside a block");
  std::uint64_t length = 0;
  for (const std::span<const std::byte> piece : pieces) {
    TIDELOG_CHECK(aligned(piece.data()), "a piece of a write has an unaligned address");
    TIDELOG_CHECK(piece.size() % kPieceUnitBytes == 0,
                  "a piece of a write has an unaligned length");
    length += piece.size();
  }
  TIDELOG_CHECK(length > 0, "a write has bytes");
  TIDELOG_CHECK(length % kBlockBytes == 0, "a write ends inside a block");
  return length;
}

void check_read_request(FilePosition position, std::span<std::byte> into) {
  TIDELOG_CHECK(position.value() % kBlockBytes == 0, "a read begins inside a block");
  TIDELOG_CHECK(aligned(into.data()), "a read has an unaligned address");
  TIDELOG_CHECK(!into.empty() && into.size() % kBlockBytes == 0, "a read has an unaligned length");
}

}  // namespace tidelog::log::io
