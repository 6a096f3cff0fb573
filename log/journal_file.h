// The files of one shard's journal, blocking half: creating prewritten ones, giving the journal a
// new id.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/io/file_system.h"
#include "log/journal_format.h"

namespace tidelog::log {

struct JournalFile {
  std::unique_ptr<io::File> file;
  JournalFileHeader header;
};

// Creates a file of header.file_bytes zeros behind its header; file and name are stable on return.
// An unfinished file of that name is replaced. Fails with kStorageFull, kStorageFailed.
// Writes zeros to [from, to), whole blocks, and syncs them: a journal's writes overwrite.
Result<> extend_journal_file(io::File& file, std::uint64_t from, std::uint64_t to);
Result<JournalFile> create_journal_file(io::FileSystem& files, const std::string& path,
                                        const JournalFileHeader& header);

// Writes `header` over both slots, one after the other, each synced: whatever a crash leaves, one
// of them is sound. Fails with kStorageFull, kStorageFailed.
Result<> write_journal_header(io::File& file, const JournalFileHeader& header);

// The sound header slot with the highest generation. `damaged` counts the unsound slots.
// Fails with kStorageFailed.
struct JournalHeaderRead {
  std::optional<JournalFileHeader> header;
  int damaged = 0;
};
Result<JournalHeaderRead> read_journal_header(io::File& file);

}  // namespace tidelog::log
