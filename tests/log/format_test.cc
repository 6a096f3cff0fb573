// The formats: what log/STORAGE.md shows is what the code reads and writes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_format.h"
#include "log/journal_ring.h"
#include "log/leader_epochs.h"
#include "log/producer_snapshot.h"
#include "log/segment_format.h"
#include "log/segment_index.h"
#include "log/slot_file.h"
#include "log/write_header.h"

namespace tidelog::log {
namespace {

TopicPartition example_id() {
  TopicPartition id;
  id.topic.bytes.fill(0xab);
  id.partition = PartitionIndex(3);
  return id;
}

// "0000  54 49 ..." lines of 16 bytes, as in the page.
std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    text += fmt::format("{:02x} ", at);
    for (std::size_t i = at; i < std::min(at + 16, bytes.size()); ++i) {
      text += fmt::format(" {:02x}", static_cast<unsigned>(bytes[i]));
    }
    text += "\n";
  }
  return text;
}

std::string storage_page() {
  std::ifstream file(std::string(TIDELOG_SOURCE_DIR) + "/log/STORAGE.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The bytes of the hex example that follows `sentence` in the page.
std::vector<std::byte> example_after(const std::string& page, const std::string& sentence) {
  std::vector<std::byte> bytes;
  const auto at = page.find(sentence);
  if (at == std::string::npos) return bytes;
  const auto begin = page.find("```\n", at) + 4;
  std::istringstream lines(page.substr(begin, page.find("```", begin) - begin));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;  // the position
    while (words >> word) bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
  }
  return bytes;
}

constexpr const char* kHeaderSentence = "Example: the header of a segment's first write";
constexpr const char* kSegmentSentence = "Example (topic id of sixteen 0xab, partition 3, base";
constexpr const char* kEntrySentence = "Example (append to topic id of sixteen 0xab";
constexpr const char* kProducersSentence = "Example (producer 7, epoch 2, last append at 1000";

TEST(StorageFormatTest, TheExamplesOfThePageDecode) {
  const std::string page = storage_page();
  ASSERT_FALSE(page.empty());
  const auto write = example_after(page, kHeaderSentence);
  const auto header = decode_write_header(write);
  WriteHeader wanted{.kind = WriteKind::kSegment,
                     .file_id = 0x1122334455667788,
                     .sequence = 1,
                     .bytes_used = 1064,
                     .entries = 0,
                     .durable = 10,
                     .first = 7,
                     .position = 4096};
  std::vector<std::byte> encoded(kWriteHeaderBytes);
  encode_write_header(wanted, encoded);
  ASSERT_TRUE(header) << to_hex(encoded);
  EXPECT_EQ(to_hex(write), to_hex(encoded));
  EXPECT_EQ(header->first, 7U);
  EXPECT_EQ(header->durable, 10U);

  const SegmentFileHeader segment{
      .file_id = 0x1122334455667788, .id = example_id(), .base = Offset(42), .created_us = 1000};
  std::vector<std::byte> first_block(kSegmentHeaderBytes);
  encode_segment_header(segment, first_block);
  EXPECT_EQ(decode_segment_header(example_after(page, kSegmentSentence)), segment)
      << to_hex(first_block);

  const JournalEntry entry{.id = example_id(),
                           .kind = EntryKind::kAppend,
                           .durable_end = Offset(40),
                           .base = Offset(42),
                           .next = Offset(45),
                           .length = 300,
                           .incarnation = 5,
                           .checksum = 0x0102030405060708};
  std::vector<std::byte> table(kJournalEntryBytes);
  encode_journal_entry(entry, table.data());
  const auto shown = example_after(page, kEntrySentence);
  ASSERT_EQ(shown.size(), kJournalEntryBytes) << to_hex(table);
  EXPECT_EQ(decode_journal_entry(shown.data()), entry) << to_hex(table);

  ProducerTable producers;
  ASSERT_TRUE(producers.restore({.id = ProducerId(7),
                                 .epoch = 2,
                                 .last_append_us = 1000,
                                 .ranges = {{Offset(40), 0, 3}, {Offset(50), 3, 1, true}}}));
  std::vector<std::byte> snapshot(producer_snapshot_bytes(producers));
  encode_producers(producers, snapshot);
  EXPECT_EQ(to_hex(example_after(page, kProducersSentence)), to_hex(snapshot));
  EXPECT_EQ(decode_producers(snapshot), producers);
}

// Each format refuses each flipped bit of what its checksums cover.
template <typename Decode>
void expect_every_bit_counts(std::vector<std::byte> bytes, Decode decode) {
  ASSERT_TRUE(decode(bytes));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(decode(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode(
        std::vector<std::byte>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))))
        << size << " bytes";
  }
}

TEST(StorageFormatTest, NoFlippedBitAndNoShortFilePasses) {
  CheckpointContent content;
  content.journals.push_back({77, 12});
  content.logs.push_back({example_id(), 5, Offset(1), Offset(20), Offset(30), Offset(25), true});
  const auto body = encode_checkpoint(content);
  EXPECT_EQ(decode_checkpoint(body), content);
  expect_every_bit_counts(encode_slot(kCheckpointMagic, {9, body}), [](const auto& bytes) {
    return decode_slot(kCheckpointMagic, bytes).has_value();
  });

  std::vector<std::byte> journal(kJournalHeaderBytes);
  encode_journal_header({3, 99, 1, 2, 4096, 4, 3}, journal);
  expect_every_bit_counts(
      journal, [](const auto& bytes) { return decode_journal_header(bytes).has_value(); });
  encode_journal_header({3, 99, 1, 2, 4096, kJournalShardsMax, kRingFilesMax}, journal);
  EXPECT_TRUE(decode_journal_header(journal));
  encode_journal_header({3, 99, 1, 2, 4096, kJournalShardsMax + 1, 3}, journal);
  EXPECT_FALSE(decode_journal_header(journal));
  encode_journal_header({3, 99, 1, 2, 4096, 4, kRingFilesMax + 1}, journal);
  EXPECT_FALSE(decode_journal_header(journal));

  std::vector<std::byte> segment(kSegmentHeaderBytes);
  encode_segment_header({7, example_id(), Offset(42), 1000}, segment);
  expect_every_bit_counts(
      segment, [](const auto& bytes) { return decode_segment_header(bytes).has_value(); });

  std::vector<std::byte> write(kWriteHeaderBytes + 2 * kJournalEntryBytes, std::byte{5});
  encode_write_header({.kind = WriteKind::kJournal,
                       .file_id = 1,
                       .sequence = 2,
                       .bytes_used = 200,
                       .entries = 2,
                       .durable = 1,
                       .first = 1,
                       .position = 8192},
                      write);
  expect_every_bit_counts(write,
                          [](const auto& bytes) { return decode_write_header(bytes).has_value(); });

  SegmentSummary summary;
  summary.file_id = 3;
  summary.end = Offset(10);
  summary.epochs.push_back({LeaderEpoch(1), Offset(0)});
  SegmentIndex index;
  index.entries.push_back({Offset(0), 4160, 1000});
  ProducerTable producers;
  ASSERT_TRUE(producers.restore({.id = ProducerId(7), .ranges = {{Offset(4), 0, 3}}}));
  expect_every_bit_counts(encode_index(summary, index, producers),
                          [](const auto& bytes) { return decode_index(bytes).has_value(); });
}

TEST(StorageFormatTest, MetaAndCatalogComeBackAsWritten) {
  const DirectoryIdentity identity{std::string(32, 'a'), 4, std::string(32, 'b')};
  const auto meta = decode_meta(encode_meta(identity));
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->cluster_id, identity.cluster_id);
  EXPECT_EQ(meta->broker_id, 4);
  CatalogContent catalog;
  catalog.next_incarnation = 9;
  catalog.replicas[example_id()] = {8, ReplicaState::kRemoving};
  const auto read = decode_catalog(encode_catalog(catalog));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->replicas, catalog.replicas);
  EXPECT_EQ(read->next_incarnation, 9U);
}

TEST(JournalRingTest, NeverOverlapsWhatIsNotFreeAndAlwaysKeepsAReserve) {
  JournalRing ring;
  ring.add_file(16 * 4096);
  std::uint64_t sequence = 0;
  while (const auto place = ring.find(4096, 3 * 4096)) {
    EXPECT_GE(place->position, kJournalDataStart);
    ring.take(*place, std::min<std::uint64_t>(place->room, 3 * 4096), ++sequence);
  }
  EXPECT_EQ(ring.used_bytes(), 12U * 4096);
  const auto reserve = ring.find_reserve();
  ASSERT_TRUE(reserve);
  ring.take(*reserve, 4096, ++sequence);
  ring.free_below(3);
  const auto again = ring.find(4096, 3 * 4096);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->position, kJournalDataStart);
  EXPECT_LE(again->room, 6U * 4096);
}

TEST(JournalRingTest, KeepsItsReserveFromAWriteThatFindsTheOnlyFileEmpty) {
  constexpr std::uint64_t kBytes = 64 << 10;
  JournalRing ring;
  ring.add_file(kBytes);
  const std::uint64_t all = kBytes - kJournalDataStart;
  EXPECT_FALSE(ring.find(all, all));
  const auto place = ring.find(io::kBlockBytes, all);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->room, ring.largest_write());
  ring.take(*place, place->room, 1);
  EXPECT_TRUE(ring.find_reserve());
}

TEST(JournalRingTest, GrowsWhileItIsWrapped) {
  JournalRing ring;
  ring.add_file(16 * 4096);
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence)
    ring.take(*ring.find(4 * 4096, 4 * 4096), 4 * 4096, sequence);
  ring.free_below(3);
  ring.take(*ring.find(4 * 4096, 4 * 4096), 4 * 4096, 4);
  ring.add_file(32 * 4096);
  std::uint64_t sequence = 4;
  while (const auto place = ring.find(4096, 4096)) ring.take(*place, 4096, ++sequence);
  // What is behind the oldest write is reached when that write is free.
  ring.free_below(4);
  EXPECT_GT(ring.find(4096, 20 * 4096)->room, 0U);
}

TEST(LeaderEpochsTest, AnswersWhereAnEpochEnds) {
  LeaderEpochs epochs;
  epochs.begin(LeaderEpoch(2), Offset(0));
  epochs.begin(LeaderEpoch(5), Offset(10));
  epochs.begin(LeaderEpoch(5), Offset(12));
  EXPECT_EQ(epochs.end_of(LeaderEpoch(1), Offset(20)).epoch, LeaderEpoch(-1));
  EXPECT_EQ(epochs.end_of(LeaderEpoch(3), Offset(20)).epoch, LeaderEpoch(2));
  EXPECT_EQ(epochs.end_of(LeaderEpoch(3), Offset(20)).end, Offset(10));
  EXPECT_EQ(epochs.end_of(LeaderEpoch(9), Offset(20)).end, Offset(20));
  epochs.cut(Offset(10));
  EXPECT_EQ(epochs.last(), LeaderEpoch(2));
}

}  // namespace
}  // namespace tidelog::log
