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

// Writes zeros to [from, to), whole blocks, and syncs them: a journal's writes overwrite. Fails
// with kStorageFull, kStorageFailed.
Result<> extend_journal_file(io::File& file, std::uint64_t from, std::uint64_t to);
// Creates a file of header.file_bytes zeros behind its header; file and name are stable on return.
// An unfinished file of that name is replaced. Fails with kStorageFull, kStorageFailed.
Result<JournalFile> create_journal_file(io::FileSystem& files, const std::string& path,
                                        const JournalFileHeader& header);

// Creates the ring's next file, `path` with `header`, then says in the first one, whose header is
// `first`, that the ring has it: from then on it is missed where it is not there. `again`: an
// attempt that found no space may have said so, and is taken back first. Fails with kStorageFull,
// kStorageFailed.
Result<JournalFile> add_journal_file(io::FileSystem& files, const std::string& first_path,
                                     JournalFileHeader first, const std::string& path,
                                     const JournalFileHeader& header, bool again);

// Writes `header` over both slots, one after the other, each synced: whatever a crash leaves, one
// of them is sound. Fails with kStorageFull, kStorageFailed.
Result<> write_journal_header(io::File& file, const JournalFileHeader& header);

// The sound header slot with the highest generation, and of those the one that names more files.
// `damaged` counts the unsound slots. Fails with kStorageFailed.
struct JournalHeaderRead {
  std::optional<JournalFileHeader> header;
  int damaged = 0;
};
Result<JournalHeaderRead> read_journal_header(io::File& file);

}  // namespace tidelog::log
