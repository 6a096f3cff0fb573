#include "broker/fetch_news.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidelog::broker {
namespace {

// The batches of `next` go on where those of `result` end.
void append(FetchChunk& result, FetchChunk& next) {
  std::ranges::move(next.pieces, std::back_inserter(result.pieces));
  result.bytes += next.bytes;
  result.high_watermark = next.high_watermark;
  result.start_offset = next.start_offset;
  result.next_offset = next.next_offset;
}

}  // namespace

void FetchNews::add(FetchChunk chunk) {
  bytes_ += chunk.bytes;
  if (chunk.error) ++errors_;
  chunks_.push_back(std::move(chunk));
}

void FetchNews::drop(const PartitionSet& partitions) {
  std::erase_if(chunks_, [&](const FetchChunk& chunk) {
    if (!partitions.contains(chunk.id)) return false;
    bytes_ -= chunk.bytes;
    if (chunk.error) --errors_;
    return true;
  });
}

FetchNews::Results FetchNews::take(std::size_t bytes_max) {
  Results results;
  PartitionMap<std::size_t> places;  // of partitions among the results
  std::size_t taken = 0;
  while (!chunks_.empty()) {
    FetchChunk& chunk = chunks_.front();
    const std::size_t chunk_bytes = chunk.bytes;
    const std::size_t takes = answer_bytes(chunk);
    if (!results.chunks.empty() && taken + takes > bytes_max) break;
    const auto [place, first] = places.try_emplace(chunk.id, results.chunks.size());
    if (first) {
      if (chunk.error) --errors_;
      results.chunks.push_back(std::move(chunk));
    } else {
      if (chunk.error) break;  // what was read before an error goes first, alone
      append(results.chunks[place->second], chunk);
      results.holds.push_back(std::move(chunk.hold));
    }
    taken += takes;
    bytes_ -= chunk_bytes;
    chunks_.pop_front();
  }
  return results;
}

}  // namespace tidelog::broker
