// What a start reads from a journal whose file holds anything, as it is or with its checksums made
// right: its writes rise from the tail on, what they hold lies in memory, and the number of writes
// that may be missing is bounded by what the ring can hold.
#include <string>

#include "base/check.h"
#include "log/inspect.h"
#include "log/journal_replay.h"
#include "tests/fuzz/blocks.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::log {
namespace {

std::size_t touched = 0;

void fuzz_journal(std::span<const std::byte> input) {
  if (input.empty()) return;
  const bool makes_sound = (std::to_integer<unsigned>(input[0]) & 1) != 0;
  const bool in_checkpoint = (std::to_integer<unsigned>(input[0]) & 2) != 0;
  auto bytes = fuzz::unpack_blocks(input.subspan(1));
  if (makes_sound) fuzz::make_sound(bytes);

  sim::SimDisk disk;
  const DataPaths paths{"data"};
  disk.put(paths.journal_file(0, 0), bytes);
  const auto journals = list_journals(disk, paths);
  TIDELOG_CHECK(journals && journals->size() == 1, "the journal is found");
  std::vector<JournalCheckpoint> known;
  if (in_checkpoint) {
    const auto file = disk.open(paths.journal_file(0, 0), {.mode = io::OpenMode::kRead});
    const auto header = read_journal_header(**file);
    if (header && header->header) known.push_back({header->header->journal_id, 5});
  }
  const EntryVisitor visit = [](std::uint64_t, const ReplayEntry& entry,
                                std::span<const std::byte> batches) {
    TIDELOG_CHECK(batches.size() == entry.entry.length, "an entry has its batches");
    for (const std::byte byte : batches) touched += std::to_integer<std::size_t>(byte);
  };
  const auto survey = survey_journals(disk, paths, *journals, known, in_checkpoint);
  TIDELOG_CHECK(survey.has_value(), "headers are read");
  const auto read = read_journal(disk, paths, journals->front(), *survey, visit);
  if (!read) return;
  std::uint64_t last = 0;
  for (const ReplayWrite& write : read->writes) {
    TIDELOG_CHECK(write.header.sequence >= read->tail, "writes below the tail do not count");
    TIDELOG_CHECK(last == 0 || write.header.sequence > last, "writes rise");
    last = write.header.sequence;
    for (const ReplayEntry& entry : write.entries) {
      const auto batches = read->reader->batches_of(entry);
      TIDELOG_CHECK(!entry.sound || entry.entry.length == 0 || batches,
                    "a sound entry's batches are there when they are asked for");
    }
  }
  for (const auto& [first, newest] : read->lost) {
    TIDELOG_CHECK(read->tail <= first && first <= newest && newest <= read->durable,
                  "what is lost was complete");
    TIDELOG_CHECK(write_place(*read, first).starts_with("data/journal/"), "its file is named");
  }
  for (const std::string& path : disk.files()) {
    (void)verify_path(disk, path);
    (void)dump_file(disk, path, [](const DumpItem& item) {
      TIDELOG_CHECK(!item.kind.empty(), "each item says what it is");
    });
  }
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::log::fuzz_journal({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
