#include "tests/sim/paged_bytes.h"

#include <algorithm>
#include <cstring>

namespace tidelog::sim {
namespace {

// Calls `visit(page, offset in page, offset in range, length)` for each page of a range.
template <typename Visit>
void for_each_page(std::uint64_t position, std::uint64_t length, Visit visit) {
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t at = position + done;
    const std::size_t in_page = static_cast<std::size_t>(at % PagedBytes::kPageBytes);
    const std::size_t part = static_cast<std::size_t>(
        std::min<std::uint64_t>(PagedBytes::kPageBytes - in_page, length - done));
    visit(at / PagedBytes::kPageBytes, in_page, static_cast<std::size_t>(done), part);
    done += part;
  }
}

}  // namespace

const PagedBytes::Page* PagedBytes::find(std::uint64_t page) const {
  const std::uint64_t chunk = page / kPagesPerChunk;
  if (chunk >= chunks_.size() || chunks_[chunk] == nullptr) return nullptr;
  return chunks_[chunk]->pages[page % kPagesPerChunk].get();
}

std::shared_ptr<PagedBytes::Page>& PagedBytes::slot(std::uint64_t page) {
  const std::uint64_t index = page / kPagesPerChunk;
  if (index >= chunks_.size()) chunks_.resize(index + 1);
  std::shared_ptr<Chunk>& chunk = chunks_[index];
  if (chunk == nullptr) {
    chunk = std::make_shared<Chunk>();
  } else if (chunk.use_count() > 1) {
    chunk = std::make_shared<Chunk>(*chunk);
  }
  return chunk->pages[page % kPagesPerChunk];
}

PagedBytes::Page& PagedBytes::own(std::uint64_t page) {
  std::shared_ptr<Page>& mine = slot(page);
  if (mine == nullptr) {
    mine = std::make_shared<Page>();
    ++pages_;
  } else if (mine.use_count() > 1) {
    mine = std::make_shared<Page>(*mine);
  }
  return *mine;
}

void PagedBytes::read(std::uint64_t position, std::span<std::byte> into) const {
  for_each_page(position, into.size(),
                [&](std::uint64_t page, std::size_t in_page, std::size_t at, std::size_t length) {
                  const Page* found = find(page);
                  if (found == nullptr) {
                    std::memset(into.data() + at, 0, length);
                  } else {
                    std::memcpy(into.data() + at, found->data() + in_page, length);
                  }
                });
}

void PagedBytes::write(std::uint64_t position, std::span<const std::byte> bytes) {
  for_each_page(position, bytes.size(),
                [&](std::uint64_t page, std::size_t in_page, std::size_t at, std::size_t length) {
                  std::memcpy(own(page).data() + in_page, bytes.data() + at, length);
                });
}

void PagedBytes::zero(std::uint64_t position, std::uint64_t length) {
  for_each_page(position, length,
                [&](std::uint64_t page, std::size_t in_page, std::size_t, std::size_t part) {
                  if (find(page) != nullptr) std::memset(own(page).data() + in_page, 0, part);
                });
}

const std::shared_ptr<PagedBytes::Page>& PagedBytes::reserved() {
  static const std::shared_ptr<Page> zeros = std::make_shared<Page>();
  return zeros;
}

void PagedBytes::reserve(std::uint64_t position, std::uint64_t length) {
  for_each_page(position, length, [&](std::uint64_t page, std::size_t, std::size_t, std::size_t) {
    std::shared_ptr<Page>& mine = slot(page);
    if (mine != nullptr) return;
    mine = reserved();
    ++pages_;
  });
}

std::uint64_t PagedBytes::next_written(std::uint64_t position, std::uint64_t end) const {
  for (std::uint64_t at = position; at < end; at = (at / kPageBytes + 1) * kPageBytes) {
    const Page* page = find(at / kPageBytes);
    if (page != nullptr && page != reserved().get()) return at;
  }
  return std::max(position, end);
}

void PagedBytes::cut(std::uint64_t size) {
  const std::uint64_t end_page = chunks_.size() * kPagesPerChunk;
  const std::uint64_t first_gone = (size + kPageBytes - 1) / kPageBytes;
  for (std::uint64_t page = first_gone; page < end_page; ++page) {
    if (page % kPagesPerChunk == 0 && chunks_[page / kPagesPerChunk] == nullptr) {
      page += kPagesPerChunk - 1;
      continue;
    }
    if (find(page) == nullptr) continue;
    slot(page) = nullptr;
    --pages_;
  }
  chunks_.resize(
      std::min<std::uint64_t>(chunks_.size(), (first_gone + kPagesPerChunk - 1) / kPagesPerChunk));
  const std::uint64_t in_page = size % kPageBytes;
  if (in_page != 0) zero(size, kPageBytes - in_page);
}

std::uint64_t PagedBytes::missing_pages(std::uint64_t position, std::uint64_t length) const {
  std::uint64_t missing = 0;
  for_each_page(position, length, [&](std::uint64_t page, std::size_t, std::size_t, std::size_t) {
    if (find(page) == nullptr) ++missing;
  });
  return missing;
}

}  // namespace tidelog::sim
