// Reads the files of a journal that a stop left, one window at a time: which writes stand where,
// and the batches of their entries. Blocking. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/data_directory.h"
#include "log/file_window.h"
#include "log/journal_file.h"
#include "log/journal_format.h"

namespace tidelog::log {

// A journal in `<data>/journal`.
struct JournalFiles {
  std::uint32_t shard = 0;
  std::vector<std::uint32_t> numbers;  // rising
};

// An entry whose table is sound.
struct ReplayEntry {
  JournalEntry entry;
  std::uint64_t position = 0;  // of its batches in the file
  std::uint32_t file = 0;      // index among the journal's files
  bool sound = false;          // its batches verify
};

struct ReplayWrite {
  WriteHeader header;
  std::vector<ReplayEntry> entries;

  bool whole() const;
};

class JournalReader {
 public:
  struct File {
    std::uint32_t number = 0;
    std::string path;
    JournalHeaderRead header;
    std::uint64_t bytes = 0;
    std::unique_ptr<io::File> file;
  };

  // Opens all files and reads their headers. Fails with kStorageFailed.
  static Result<std::unique_ptr<JournalReader>> open(io::FileSystem& files, const DataPaths& paths,
                                                     const JournalFiles& journal);

  const std::vector<File>& files() const { return files_; }

  // The write that begins at `at` of the file, if its header and table are sound and it belongs to
  // the journal `id`; its batches are checked. Blocks that cannot be read are unsound. Fails with
  // kStorageFailed.
  Result<std::optional<ReplayWrite>> write_at(std::uint32_t file, std::uint64_t at,
                                              std::uint64_t id);
  // The header at `at`, of whatever journal.
  Result<std::optional<WriteHeader>> header_at(std::uint32_t file, std::uint64_t at);
  // Whether all bytes of the block at `at` that a header would have are unreadable.
  Result<bool> unreadable_at(std::uint32_t file, std::uint64_t at);

  // The batches of a sound entry, checked again; valid until the next call. Fails with
  // kStorageFailed, also when they do not verify any more.
  Result<std::span<const std::byte>> batches_of(const ReplayEntry& entry);

 private:
  Result<std::span<const std::byte>> bytes_at(std::uint32_t file, std::uint64_t at,
                                              std::size_t length);

  std::vector<File> files_;
  std::optional<FileWindow> window_;  // over one of them
  std::uint32_t window_file_ = 0;
};

}  // namespace tidelog::log
