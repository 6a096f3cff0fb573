#include "log/journal_handover.h"

#include <algorithm>

#include "base/random.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

JournalRing::Place place_of(const WriteHeader& header) {
  return {.file = static_cast<std::uint32_t>(header.position >> kFileNumberShift),
          .position = header.position & kFilePositionMask};
}

// Whether the replayed journal is whole and the one that `shards` shards of today would write.
bool fits(const JournalHandover& handover, const ReplayedJournal& journal, std::size_t shard) {
  if (journal.shard != shard || journal.shard_count != handover.shards) return false;
  if (journal.journal_id == 0 || journal.rest_unknown) return false;
  if (!journal.problems.empty() || !journal.lost.empty()) return false;
  // Nothing is left of what a checkpoint knew to be complete.
  if (journal.writes.empty()) return journal.durable == 0;
  // From the tail on: where the first ones never came to be, what stands behind them may have been
  // acknowledged to nobody, and must not count as complete to later starts.
  std::uint64_t due = journal.tail;
  if (broken(Rule::kOnlyDenseJournalsGoOn)) return true;
  return std::ranges::all_of(journal.writes, [&due](const ReplayWrite& write) {
    return write.header.sequence == due++ && write.whole();
  });
}

// Whether it ends where the clean stop left it.
bool as_marked(const ReplayedJournal& journal, std::span<const JournalCheckpoint> marked) {
  const auto known = std::ranges::find(marked, journal.journal_id, &JournalCheckpoint::journal_id);
  if (known == marked.end() || known->durable_sequence != journal.durable) return false;
  const std::uint64_t last = journal.writes.empty() ? 0 : journal.writes.back().header.sequence;
  return last == journal.durable;
}

// A truncation that a crash cut short is finished on segments and journal alike.
bool truncates(const ReplayedJournal& journal) {
  if (broken(Rule::kCutsAreFinishedFirst)) return false;
  return std::ranges::any_of(journal.writes, [](const ReplayWrite& write) {
    return std::ranges::any_of(write.entries, [](const ReplayEntry& entry) {
      return entry.entry.kind == EntryKind::kTruncate;
    });
  });
}

// Opens the files of a journal that fits; nullopt when sizes or numbers are not what a running
// journal has.
Result<std::optional<std::vector<JournalFile>>> open_files(const JournalHandover& handover,
                                                           const ReplayedJournal& journal) {
  std::vector<JournalFile> files;
  for (const JournalReader::File& found : journal.reader->files()) {
    TIDELOG_ASSIGN(auto file, handover.files->open(found.path,
                                                   {.mode = io::OpenMode::kWrite, .direct = true}));
    TIDELOG_ASSIGN(const auto read, read_journal_header(*file));
    TIDELOG_ASSIGN(const std::uint64_t size, file->size());
    if (!read.header || read.header->journal_id != journal.journal_id ||
        read.header->file_number != files.size() || read.header->file_bytes != size ||
        (files.empty() && read.header->ring_files != journal.reader->files().size()) ||
        size < handover.journal_bytes_min || size % io::kBlockBytes != 0) {
      return std::nullopt;
    }
    files.push_back({std::move(file), *read.header});
  }
  if (files.empty()) return std::nullopt;
  return files;
}

// The sizes of a journal's files, in whole blocks, the first one with room for a ring.
Result<std::vector<std::uint64_t>> sizes_of(const JournalHandover& handover, std::uint32_t shard,
                                            const std::vector<std::uint32_t>& numbers,
                                            std::span<const std::unique_ptr<io::File>> open) {
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    TIDELOG_ASSIGN(const std::uint64_t size, open[i]->size());
    sizes.push_back(size / io::kBlockBytes * io::kBlockBytes);
    if (shard < handover.shards && numbers[i] == 0 && sizes[i] < handover.journal_bytes_min) {
      // In place: a shard that has a journal has one at every moment.
      TIDELOG_TRY(extend_journal_file(*open[i], sizes[i], handover.journal_bytes_min));
      sizes[i] = handover.journal_bytes_min;
    }
  }
  return sizes;
}

// How many of the files, from the first on, make a ring.
std::uint32_t fitting(const JournalHandover& handover, std::uint32_t shard,
                      const std::vector<std::uint32_t>& numbers,
                      std::span<const std::uint64_t> sizes) {
  // Of a shard that is gone they go, one by one: none is to be missed any more.
  if (shard >= handover.shards) return 0;
  std::uint32_t count = 0;
  while (count < numbers.size() && numbers[count] == count &&
         sizes[count] >= handover.journal_bytes_min) {
    ++count;
  }
  return count;
}

Result<StoredJournal> renew(const JournalHandover& handover, std::uint32_t shard,
                            const std::vector<std::uint32_t>& numbers) {
  io::FileSystem& files = *handover.files;
  StoredJournal renewed;
  JournalFileHeader header;
  header.shard = shard;
  header.shard_count = static_cast<std::uint32_t>(handover.shards);
  header.journal_id = random_id();
  std::vector<std::unique_ptr<io::File>> open;
  for (const std::uint32_t number : numbers) {
    TIDELOG_ASSIGN(auto file, files.open(handover.paths->journal_file(shard, number),
                                         {.mode = io::OpenMode::kWrite, .direct = true}));
    TIDELOG_ASSIGN(const auto read, read_journal_header(*file));
    if (read.header && broken(Rule::kNewJournalIds)) header.journal_id = read.header->journal_id;
    if (read.header) header.generation = std::max(header.generation, read.header->generation);
    open.push_back(std::move(file));
  }
  ++header.generation;
  TIDELOG_ASSIGN(const auto sizes, sizes_of(handover, shard, numbers, open));
  header.ring_files = fitting(handover, shard, numbers, sizes);
  // The first file last: what it names is there, stable, with a header, and so is its name.
  for (std::size_t i = numbers.size(); i-- > 0;) {
    header.file_number = numbers[i];
    header.file_bytes = sizes[i];
    if (i == 0 && header.ring_files > 1) {
      TIDELOG_TRY(files.sync_directory(handover.paths->journals()));
    }
    // Of one that goes the making was cut short, or the sizes asked for changed. Until it is gone
    // it must not look damaged.
    if (i < header.ring_files || header.file_bytes >= kJournalDataStart) {
      TIDELOG_TRY(write_journal_header(*open[i], header));
    }
    if (i < header.ring_files) renewed.files.push_back({std::move(open[i]), header});
  }
  std::ranges::reverse(renewed.files);
  for (std::size_t i = numbers.size(); i-- > header.ring_files && shard < handover.shards;) {
    TIDELOG_TRY(files.remove_file(handover.paths->journal_file(shard, numbers[i])));
  }
  return renewed;
}

Result<bool> has_header(const JournalHandover& handover, std::uint32_t shard) {
  TIDELOG_ASSIGN(auto file, handover.files->open(handover.paths->journal_file(shard, 0),
                                                 {.mode = io::OpenMode::kRead, .direct = true}));
  TIDELOG_ASSIGN(const auto read, read_journal_header(*file));
  return read.header.has_value();
}

// The files of the journals of `shards` shards and of those that are there besides: what is missing
// is made, first, and names no shards, so that what a header names is there at every moment. So is
// what has no header, since its making was cut short.
Result<std::vector<JournalFiles>> make_missing(const JournalHandover& handover,
                                               std::span<const JournalFiles> journals) {
  std::vector<JournalFiles> all(journals.begin(), journals.end());
  for (std::uint32_t shard = 0; shard < handover.shards; ++shard) {
    auto at = std::ranges::lower_bound(all, shard, {}, &JournalFiles::shard);
    if (at == all.end() || at->shard != shard) at = all.insert(at, JournalFiles{shard, {}});
    const bool there = !at->numbers.empty() && at->numbers.front() == 0;
    if (there) {
      TIDELOG_ASSIGN(const bool headed, has_header(handover, shard));
      if (headed) continue;
    } else {
      at->numbers.insert(at->numbers.begin(), 0);
    }
    JournalFileHeader header;
    header.generation = 1;
    header.journal_id = random_id();
    header.shard = shard;
    header.file_bytes = handover.journal_bytes_min;
    TIDELOG_ASSIGN(
        const auto made,
        create_journal_file(*handover.files, handover.paths->journal_file(shard, 0), header));
    static_cast<void>(made);
  }
  return all;
}

}  // namespace

Result<std::optional<std::vector<StoredJournal>>> adopt_journals(
    const JournalHandover& handover, std::span<const ReplayedJournal> replayed,
    std::optional<std::span<const JournalCheckpoint>> marked,
    const std::function<bool(const JournalEntry&, std::size_t shard)>& misplaced) {
  if (replayed.size() != handover.shards) return std::nullopt;
  std::vector<StoredJournal> adopted;
  for (std::size_t shard = 0; shard < handover.shards; ++shard) {
    const ReplayedJournal& journal = replayed[shard];
    if (!fits(handover, journal, shard)) return std::nullopt;
    if (marked ? !as_marked(journal, *marked) : truncates(journal)) return std::nullopt;
    TIDELOG_ASSIGN(auto files, open_files(handover, journal));
    if (!files) return std::nullopt;
    StoredJournal stored{std::move(*files), {}, journal.tail};
    for (const ReplayWrite& write : journal.writes) {
      for (const ReplayEntry& entry : write.entries) {
        if (misplaced(entry.entry, shard)) return std::nullopt;
      }
      stored.writes.push_back({.sequence = write.header.sequence,
                               .place = place_of(write.header),
                               .bytes = write.header.disk_bytes()});
    }
    adopted.push_back(std::move(stored));
  }
  return adopted;
}

Result<std::vector<StoredJournal>> renew_journals(const JournalHandover& handover,
                                                  std::span<const JournalFiles> journals) {
  if (broken(Rule::kMissingJournalsFirst)) {
    for (const JournalFiles& journal : journals) {
      TIDELOG_TRY(renew(handover, journal.shard, journal.numbers));
    }
  }
  TIDELOG_ASSIGN(const std::vector<JournalFiles> all, make_missing(handover, journals));
  std::vector<StoredJournal> renewed;
  // Also those of shards that are gone: until all are emptied, one may name the others; and what a
  // crash leaves of one must not look damaged.
  for (const JournalFiles& journal : all) {
    TIDELOG_ASSIGN(auto one, renew(handover, journal.shard, journal.numbers));
    if (journal.shard < handover.shards) renewed.push_back(std::move(one));
  }
  for (const JournalFiles& journal : all) {
    if (journal.shard < handover.shards) continue;
    for (auto number = journal.numbers.rbegin(); number != journal.numbers.rend(); ++number) {
      TIDELOG_TRY(
          handover.files->remove_file(handover.paths->journal_file(journal.shard, *number)));
    }
  }
  TIDELOG_TRY(handover.files->sync_directory(handover.paths->journals()));
  return renewed;
}

}  // namespace tidelog::log
