// The bytes of a simulated file: pages shared between copies until one of them writes, so that a
// disk of megabytes is copied in microseconds. Absent pages read as zeros.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tidelog::sim {

class PagedBytes {
 public:
  static constexpr std::size_t kPageBytes = 4096;

  void read(std::uint64_t position, std::span<std::byte> into) const;
  void write(std::uint64_t position, std::span<const std::byte> bytes);
  // Reads as zeros afterwards; pages that exist stay.
  void zero(std::uint64_t position, std::uint64_t length);
  // Absent pages of the range come to exist, as zeros.
  void reserve(std::uint64_t position, std::uint64_t length);
  // The first byte in [position, end) of a page that was written; `end`, or `position` behind it,
  // where there is none.
  std::uint64_t next_written(std::uint64_t position, std::uint64_t end) const;
  // Drops everything from `size` on.
  void cut(std::uint64_t size);

  // Pages that exist: the space this file takes.
  std::uint64_t pages() const { return pages_; }
  // Pages that a write to this range would add.
  std::uint64_t missing_pages(std::uint64_t position, std::uint64_t length) const;

 private:
  using Page = std::array<std::byte, kPageBytes>;
  static constexpr std::size_t kPagesPerChunk = 64;
  struct Chunk {
    std::array<std::shared_ptr<Page>, kPagesPerChunk> pages;
  };

  // The page that stands for each that exists and was never written.
  static const std::shared_ptr<Page>& reserved();
  const Page* find(std::uint64_t page) const;
  // The slot of a page, in a chunk that no copy shares.
  std::shared_ptr<Page>& slot(std::uint64_t page);
  // The page itself, for writing.
  Page& own(std::uint64_t page);

  std::vector<std::shared_ptr<Chunk>> chunks_;
  std::uint64_t pages_ = 0;
};

}  // namespace tidelog::sim
