#include "tests/fuzz/blocks.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "log/io/file_system.h"
#include "log/journal_format.h"
#include "log/segment_format.h"
#include "log/write_header.h"
#include "wire/record_batch.h"

namespace tidelog::fuzz {
namespace {

using log::io::kBlockBytes;

constexpr std::size_t kBlocksMax = 64;

void sign(std::span<std::byte> header, std::size_t at, std::uint64_t seed = 0) {
  store_le<std::uint64_t>(header.data() + at,
                          xxh3_64(std::span<const std::byte>(header).first(at), seed));
}

void sign_write(std::span<std::byte> write) {
  const std::size_t used =
      std::min<std::size_t>(load_le<std::uint32_t>(write.data() + 24), write.size());
  const std::size_t entries = load_le<std::uint32_t>(write.data() + 28);
  const std::size_t table = entries * log::kJournalEntryBytes;
  std::size_t at = log::kWriteHeaderBytes + table;
  if (at > used) return;
  for (std::size_t i = 0; i < entries; ++i) {
    std::byte* entry = write.data() + log::kWriteHeaderBytes + i * log::kJournalEntryBytes;
    TopicPartition id;
    std::memcpy(id.topic.bytes.data(), entry, id.topic.bytes.size());
    id.partition = PartitionIndex(load_le<std::int32_t>(entry + 16));
    const std::size_t length = std::min<std::size_t>(load_le<std::uint32_t>(entry + 48), used - at);
    store_le<std::uint64_t>(entry + 56, make_batches_sound(write.subspan(at, length), id));
    at += length;
  }
  if (entries == 0) {
    make_batches_sound(write.subspan(at, used - at), fuzzed_partition());
  }
  sign(write, 56, table == 0 ? 0 : xxh3_64(write.subspan(log::kWriteHeaderBytes, table)));
}

}  // namespace

TopicPartition fuzzed_partition() {
  TopicPartition id;
  id.topic.bytes.fill(2);
  id.partition = PartitionIndex(0);
  return id;
}

std::uint64_t make_batches_sound(std::span<std::byte> bytes, const TopicPartition& partition) {
  const std::uint64_t seed = wire::batch_seed(partition);
  std::uint64_t chain = 0;
  for (std::size_t at = 0; at + wire::kBatchHeaderBytes <= bytes.size();) {
    const auto batch = bytes.subspan(at);
    if (load_le<std::uint32_t>(batch.data()) != wire::kBatchMagic) {
      // Zeros up to the next sector may stand before a batch.
      at = align_up(at + 1, log::kSectorBytes);
      continue;
    }
    const std::size_t records = std::min<std::size_t>(load_le<std::uint32_t>(batch.data() + 16),
                                                      batch.size() - wire::kBatchHeaderBytes);
    store_le<std::uint64_t>(batch.data() + 8,
                            xxh3_64(batch.subspan(wire::kBatchHeaderBytes, records)));
    sign(batch, 88, seed);
    chain = log::chain_checksum(chain, load_le<std::uint64_t>(batch.data() + 88));
    at += wire::kBatchHeaderBytes + records;
  }
  return chain;
}

std::vector<std::byte> unpack_blocks(std::span<const std::byte> packed) {
  std::vector<std::byte> file;
  while (packed.size() >= 2 && file.size() < kBlocksMax * kBlockBytes) {
    const std::size_t length = std::min({std::size_t{load_le<std::uint16_t>(packed.data())},
                                         std::size_t{kBlockBytes}, packed.size() - 2});
    const auto bytes = packed.subspan(2, length);
    file.insert(file.end(), bytes.begin(), bytes.end());
    file.resize(align_up(std::max<std::size_t>(file.size(), 1), kBlockBytes));
    packed = packed.subspan(2 + length);
  }
  return file;
}

std::vector<std::byte> pack_blocks(std::span<const std::byte> file) {
  std::vector<std::byte> packed;
  for (std::size_t at = 0; at < file.size(); at += kBlockBytes) {
    auto block = file.subspan(at, std::min<std::size_t>(kBlockBytes, file.size() - at));
    while (!block.empty() && block.back() == std::byte{0}) block = block.first(block.size() - 1);
    std::byte length[2];
    store_le<std::uint16_t>(length, static_cast<std::uint16_t>(block.size()));
    packed.insert(packed.end(), length, length + 2);
    packed.insert(packed.end(), block.begin(), block.end());
  }
  return packed;
}

void make_sound(std::vector<std::byte>& file) {
  for (std::size_t at = 0; at + kBlockBytes <= file.size(); at += kBlockBytes) {
    const auto bytes = std::span(file).subspan(at);
    const auto magic = load_le<std::uint32_t>(bytes.data());
    if (magic == log::kSegmentMagic || magic == log::kJournalMagic) sign(bytes, 56);
    if (log::has_write_magic(bytes)) sign_write(bytes);
  }
}

}  // namespace tidelog::fuzz
