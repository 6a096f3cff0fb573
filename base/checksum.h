// The checksum of every format: XXH3-64 (https://github.com/Cyan4973/xxHash, specification v0.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tidelog {

std::uint64_t xxh3_64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
// XXH3-64 of `first` followed by `second`, without allocation.
std::uint64_t xxh3_64_of_two(std::span<const std::byte> first, std::span<const std::byte> second,
                             std::uint64_t seed = 0);

// XXH3-64 over bytes that are not contiguous. Equal to xxh3_64 of their concatenation.
class ChecksumStream {
 public:
  explicit ChecksumStream(std::uint64_t seed = 0);
  ~ChecksumStream();
  ChecksumStream(const ChecksumStream&) = delete;
  ChecksumStream& operator=(const ChecksumStream&) = delete;

  void update(std::span<const std::byte> bytes);
  std::uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidelog
