#include "log/journal_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace tidelog::log {
namespace {

// "<shard>-<number>"; nullopt for other names.
std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_name(std::string_view name) {
  std::uint32_t shard = 0;
  std::uint32_t number = 0;
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data(), end, shard);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, number);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return std::pair(shard, number);
}

using Found = std::map<std::uint64_t, ReplayWrite>;  // by sequence

// The journals, of now or of an earlier id, whose writes stand in the file.
Result<std::set<std::uint64_t>> ids_in(JournalReader& reader, std::uint32_t file) {
  std::set<std::uint64_t> ids;
  for (std::uint64_t at = kJournalDataStart; at < reader.files()[file].bytes;
       at += io::kBlockBytes) {
    TIDELOG_ASSIGN(const auto header, reader.header_at(file, at));
    if (header) ids.insert(header->file_id);
  }
  return ids;
}

// What the newest headers say.
void take_headers(const JournalReader& reader, ReplayedJournal& replayed) {
  for (const JournalReader::File& file : reader.files()) {
    const auto& header = file.header.header;
    if (!header) continue;
    if (header->generation > replayed.generation) {
      replayed.generation = header->generation;
      replayed.journal_id = header->journal_id;
      replayed.shard_count = header->shard_count;
      replayed.ring_files = header->ring_files;
    } else if (header->generation == replayed.generation) {
      replayed.ring_files = std::max(replayed.ring_files, header->ring_files);
    }
  }
}

// Rot takes blocks. A whole file that cannot be read is a device that may come back.
Result<> check_readable(JournalReader& reader, std::uint32_t file) {
  for (std::uint64_t at = 0; at < reader.files()[file].bytes; at += io::kBlockBytes) {
    TIDELOG_ASSIGN(const bool unreadable, reader.unreadable_at(file, at));
    if (!unreadable) return {};
  }
  if (reader.files()[file].bytes == 0) return {};
  return fail(ErrorCode::kStorageFailed,
              fmt::format("{} cannot be read", reader.files()[file].path));
}

Result<> read_writes(JournalReader& reader, std::uint32_t file, std::uint64_t journal_id,
                     const EntryVisitor& visit, Found& found) {
  for (std::uint64_t at = kJournalDataStart; at < reader.files()[file].bytes;) {
    TIDELOG_ASSIGN(auto write, reader.write_at(file, at, journal_id));
    if (!write) {
      at += io::kBlockBytes;
      continue;
    }
    for (const ReplayEntry& entry : write->entries) {
      if (!visit || !entry.sound || entry.entry.length == 0) continue;
      TIDELOG_ASSIGN(const auto batches, reader.batches_of(entry));
      visit(write->header.sequence, entry, batches);
    }
    // Behind a write that is not whole a newer one may begin that overwrote the rest of it.
    at += write->whole() ? write->header.disk_bytes() : io::kBlockBytes;
    found[write->header.sequence] = std::move(*write);
  }
  return {};
}

// The writes from the newest tail on, and which of them are missing.
void settle(Found found, ReplayedJournal& replayed) {
  for (const auto& [sequence, write] : found) {
    replayed.tail = std::max(replayed.tail, write.header.first);
    replayed.durable = std::max(replayed.durable, write.header.durable);
    replayed.places[sequence] = write.header.position;
    replayed.places.try_emplace(sequence + 1, write.header.position + write.header.disk_bytes());
  }
  // With no write left the checkpoint alone cannot say which were overwritten; the last one was
  // not. None is needed below the newest tail.
  const std::uint64_t from =
      found.empty() ? std::max<std::uint64_t>(replayed.durable, 1) : replayed.tail;
  // By ranges: a header may name any numbers.
  std::uint64_t next = from;
  const auto lost_before = [&](std::uint64_t end) {
    if (next < end) replayed.lost.push_back({next, end - 1});
  };
  for (auto at = found.lower_bound(from); at != found.end() && at->first <= replayed.durable;
       ++at) {
    lost_before(at->first);
    next = at->first + 1;
  }
  lost_before(replayed.durable + 1);
  // Only newer writes take the place of an older one: where the newest that was complete is not
  // there, what followed it may be gone as well.
  if (replayed.durable > 0 && (found.empty() || found.rbegin()->first < replayed.durable)) {
    replayed.rest_unknown = true;
    replayed.problems.push_back(fmt::format("{}: what followed write {} is not known",
                                            write_place(replayed, replayed.durable),
                                            replayed.durable));
  }
  for (auto& [sequence, write] : found) {
    if (sequence >= replayed.tail) replayed.writes.push_back(std::move(write));
  }
}

// The id of a journal without a header: of those whose writes are there the one that the checkpoint
// named last, if no other journal has it. Ids of former times stay readable in a ring, but nothing
// names them any more.
std::uint64_t named_id(const JournalSurvey& survey, const std::set<std::uint64_t>& ids) {
  std::uint64_t id = 0;
  for (const JournalCheckpoint& known : survey.checkpointed) {
    if (ids.contains(known.journal_id) && !survey.ids.contains(known.journal_id)) {
      id = known.journal_id;
    }
  }
  return id;
}

// What is wrong with the files of a journal, whose headers were taken, apart from their writes.
// Those of a ring are all there, behind headers that were written when all of the file was; of
// others a crash may have left anything.
Result<> judge_files(const DataPaths& paths, const JournalFiles& journal,
                     const JournalSurvey& survey, ReplayedJournal& replayed) {
  // It was emptied and goes, file by file.
  if (replayed.shard_count > 0 && journal.shard >= replayed.shard_count) return {};
  const auto unknown = [&replayed](std::string problem) {
    replayed.problems.push_back(std::move(problem));
    replayed.rest_unknown = true;
  };
  const bool made = replayed.journal_id != 0 || journal.shard < survey.shards ||
                    (survey.shards == 0 && survey.holds_logs);
  const std::uint32_t ring = made ? std::max(replayed.ring_files, 1U) : 0;
  for (std::uint32_t number = 0; number < ring; ++number) {
    if (std::ranges::find(journal.numbers, number) != journal.numbers.end()) continue;
    unknown(fmt::format("{} is missing, which belongs to a ring; what it held is not known",
                        paths.journal_file(journal.shard, number)));
  }
  JournalReader& reader = *replayed.reader;
  for (std::uint32_t i = 0; i < reader.files().size(); ++i) {
    const JournalReader::File& file = reader.files()[i];
    const auto& header = file.header.header;
    if (!header) {
      TIDELOG_TRY(check_readable(reader, i));
      TIDELOG_ASSIGN(const auto ids, ids_in(reader, i));
      // A file whose making was cut short holds nothing.
      if (file.number >= ring && ids.empty()) continue;
      unknown(fmt::format("{}: byte 0: both headers are damaged; what else it held is not known",
                          file.path));
      if (replayed.journal_id == 0) replayed.journal_id = named_id(survey, ids);
      continue;
    }
    if (header->generation < replayed.generation) continue;
    if (file.header.damaged > 0) {
      replayed.problems.push_back(
          fmt::format("{}: one of two headers is damaged; the other one counts", file.path));
    }
    // A ring grows before its header says so.
    if (file.bytes < header->file_bytes) {
      unknown(fmt::format("{}: byte {}: the file ends, its header says at {}", file.path,
                          file.bytes, header->file_bytes));
    }
  }
  return {};
}

// Where the write behind the one in `file` that ends at `end` may stand: there, or at the beginning
// of one of the files, in their order.
Result<std::optional<ReplayWrite>> next_write(JournalReader& reader, std::uint64_t journal_id,
                                              std::uint64_t sequence, std::uint32_t file,
                                              std::uint64_t end) {
  const auto count = static_cast<std::uint32_t>(reader.files().size());
  for (std::uint32_t step = 0; step <= count; ++step) {
    const std::uint32_t at_file = (file + step) % count;
    const std::uint64_t at = step == 0 ? end : kJournalDataStart;
    if (at >= reader.files()[at_file].bytes) continue;
    TIDELOG_ASSIGN(const auto header, reader.header_at(at_file, at));
    if (!header || header->file_id != journal_id || header->sequence != sequence) continue;
    return reader.write_at(at_file, at, journal_id);
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<JournalFiles>> list_journals(io::FileSystem& files, const DataPaths& paths) {
  std::map<std::uint32_t, std::vector<std::uint32_t>> shards;
  TIDELOG_ASSIGN(const bool exists, files.exists(paths.journals()));
  if (exists) {
    TIDELOG_ASSIGN(const auto entries, files.list(paths.journals()));
    for (const io::DirectoryEntry& entry : entries) {
      if (const auto name = parse_name(entry.name)) shards[name->first].push_back(name->second);
    }
  }
  std::vector<JournalFiles> journals;
  for (auto& [shard, numbers] : shards) {
    std::ranges::sort(numbers);
    journals.push_back({shard, std::move(numbers)});
  }
  return journals;
}

std::vector<std::uint32_t> missing_journals(std::span<const JournalFiles> journals,
                                            std::uint32_t named) {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t shard = 0; shard < named; ++shard) {
    if (std::ranges::find(journals, shard, &JournalFiles::shard) == journals.end()) {
      missing.push_back(shard);
    }
  }
  return missing;
}

std::string missing_sentence(const DataPaths& paths, std::uint32_t shard) {
  return fmt::format("{} is missing, which other journals name; what it held is not known",
                     paths.journal_file(shard, 0));
}

Result<JournalSurvey> survey_journals(io::FileSystem& files, const DataPaths& paths,
                                      std::span<const JournalFiles> journals,
                                      std::vector<JournalCheckpoint> checkpointed,
                                      bool holds_logs) {
  JournalSurvey survey;
  survey.checkpointed = std::move(checkpointed);
  survey.holds_logs = holds_logs;
  for (const JournalFiles& journal : journals) {
    TIDELOG_ASSIGN(const auto reader, JournalReader::open(files, paths, journal));
    ReplayedJournal headers;
    take_headers(*reader, headers);
    survey.shards = std::max(survey.shards, headers.shard_count);
    if (headers.journal_id == 0) survey.headless.insert(journal.shard);
    survey.ids.insert(headers.journal_id);
  }
  return survey;
}

Result<ReplayedJournal> read_journal(io::FileSystem& files, const DataPaths& paths,
                                     const JournalFiles& journal, const JournalSurvey& survey,
                                     const EntryVisitor& visit) {
  ReplayedJournal replayed;
  replayed.shard = journal.shard;
  TIDELOG_ASSIGN(replayed.reader, JournalReader::open(files, paths, journal));
  JournalReader& reader = *replayed.reader;
  take_headers(reader, replayed);
  TIDELOG_TRY(judge_files(paths, journal, survey, replayed));
  Found found;
  for (std::uint32_t i = 0; i < reader.files().size(); ++i) {
    const auto& header = reader.files()[i].header.header;
    // What has an older header was emptied before the journal got its new id.
    if (replayed.journal_id == 0 || (header && header->generation < replayed.generation)) continue;
    TIDELOG_TRY(read_writes(reader, i, replayed.journal_id, visit, found));
  }
  for (const JournalCheckpoint& known : survey.checkpointed) {
    if (known.journal_id == replayed.journal_id) replayed.durable = known.durable_sequence;
  }
  settle(std::move(found), replayed);
  return replayed;
}

Result<std::optional<ReplayedJournal>> read_marked_journal(
    io::FileSystem& files, const DataPaths& paths, const JournalFiles& journal,
    const std::vector<JournalCheckpoint>& marked) {
  ReplayedJournal replayed;
  replayed.shard = journal.shard;
  TIDELOG_ASSIGN(replayed.reader, JournalReader::open(files, paths, journal));
  JournalReader& reader = *replayed.reader;
  for (std::uint32_t i = 0; i < reader.files().size(); ++i) {
    const JournalReader::File& file = reader.files()[i];
    const auto& header = file.header.header;
    if (!header || file.header.damaged > 0 || header->file_number != i || file.number != i) {
      return std::nullopt;
    }
    if (i > 0 && header->journal_id != replayed.journal_id) return std::nullopt;
    replayed.journal_id = header->journal_id;
    replayed.generation = header->generation;
    replayed.shard_count = header->shard_count;
    replayed.ring_files = std::max(replayed.ring_files, header->ring_files);
  }
  const auto mark = std::ranges::find(marked, replayed.journal_id, &JournalCheckpoint::journal_id);
  if (mark == marked.end()) return std::nullopt;
  replayed.durable = mark->durable_sequence;
  if (mark->oldest_sequence == 0) return replayed;  // nothing was ever written
  auto file = static_cast<std::uint32_t>(mark->oldest_position >> kFileNumberShift);
  std::uint64_t at = mark->oldest_position & kFilePositionMask;
  if (file >= reader.files().size()) return std::nullopt;
  Found found;
  for (std::uint64_t due = mark->oldest_sequence; due <= mark->durable_sequence; ++due) {
    TIDELOG_ASSIGN(auto write, next_write(reader, replayed.journal_id, due, file, at));
    if (!write) return std::nullopt;
    file = static_cast<std::uint32_t>(write->header.position >> kFileNumberShift);
    at = (write->header.position & kFilePositionMask) + write->header.disk_bytes();
    found[due] = std::move(*write);
  }
  settle(std::move(found), replayed);
  return replayed;
}

std::string write_place(const ReplayedJournal& journal, std::uint64_t sequence) {
  const auto& files = journal.reader->files();
  const auto place = journal.places.find(sequence);
  if (place == journal.places.end()) return files.front().path;
  const auto file =
      std::ranges::find(files, place->second >> kFileNumberShift, &JournalReader::File::number);
  if (file == files.end()) return files.front().path;
  return fmt::format("{}: byte {}", file->path, place->second & kFilePositionMask);
}

std::vector<std::string> lost_sentences(const ReplayedJournal& journal) {
  std::vector<std::string> sentences;
  for (const auto& [first, last] : journal.lost) {
    const std::string place = write_place(journal, first);
    sentences.push_back(
        first == last
            ? fmt::format("{}: write {} was complete and is damaged", place, first)
            : fmt::format("{}: writes {} to {} were complete and are damaged", place, first, last));
  }
  return sentences;
}

}  // namespace tidelog::log
