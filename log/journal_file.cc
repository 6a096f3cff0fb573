#include "log/journal_file.h"

#include <algorithm>
#include <utility>

#include "base/buffer_pool.h"
#include "log/file_window.h"
#include "log/io/storage_error.h"
#include "log/rules.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kPrewriteBytes = std::size_t{1} << 20;
constexpr int kSlots = 2;
}  // namespace

Result<> write_journal_header(io::File& file, const JournalFileHeader& header) {
  Buffer block = Buffer::allocate(io::kBlockBytes);
  std::fill_n(block.data(), io::kBlockBytes, std::byte{0});
  encode_journal_header(header, block.bytes());
  const auto bytes = block.bytes().first(io::kBlockBytes);
  for (int slot = 0; slot < kSlots; ++slot) {
    TIDELOG_TRY(
        file.write_at(FilePosition(static_cast<std::uint64_t>(slot) * io::kBlockBytes), bytes));
    const bool last = slot + 1 == kSlots;
    if (last || !broken(Rule::kJournalHeadersApart)) TIDELOG_TRY(file.sync_data());
  }
  return {};
}

Result<JournalHeaderRead> read_journal_header(io::File& file) {
  Buffer blocks = Buffer::allocate(kJournalDataStart);
  TIDELOG_ASSIGN(
      const std::size_t read,
      read_around_damage(file, FilePosition(0), blocks.bytes().first(kJournalDataStart)));
  JournalHeaderRead result;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const std::size_t at = slot * io::kBlockBytes;
    std::optional<JournalFileHeader> header;
    if (read >= at + kJournalHeaderBytes) {
      header = decode_journal_header(blocks.bytes().subspan(at, kJournalHeaderBytes));
    }
    if (!header) ++result.damaged;
    const auto rank = [](const JournalFileHeader& of) {
      return std::pair(of.generation, of.ring_files);
    };
    if (header && (!result.header || rank(*header) > rank(*result.header))) {
      result.header = header;
    }
  }
  return result;
}

namespace {

Result<JournalFile> fill_journal_file(io::FileSystem& files, const std::string& path,
                                      const JournalFileHeader& header) {
  JournalFile made{nullptr, header};
  TIDELOG_ASSIGN(made.file, files.open(path, {.mode = io::OpenMode::kCreate, .direct = true}));
  if (broken(Rule::kZerosBeforeTheHeader)) {
    TIDELOG_TRY(write_journal_header(*made.file, header));
    TIDELOG_TRY(files.sync_directory(parent_of(path)));
  }
  TIDELOG_TRY(extend_journal_file(*made.file, 0, header.file_bytes));
  TIDELOG_TRY(write_journal_header(*made.file, header));
  if (!broken(Rule::kGrownJournalIsNamed)) TIDELOG_TRY(files.sync_directory(parent_of(path)));
  return made;
}

}  // namespace

// Zeros before the header that tells the size: it promises that the whole file is there.
Result<> extend_journal_file(io::File& file, std::uint64_t from, std::uint64_t to) {
  Buffer zeros = Buffer::allocate(
      static_cast<std::size_t>(std::min<std::uint64_t>(kPrewriteBytes, to - from)));
  std::fill_n(zeros.data(), zeros.capacity(), std::byte{0});
  for (std::uint64_t at = from; at < to; at += zeros.capacity()) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.capacity(), to - at));
    TIDELOG_TRY(file.write_at(FilePosition(at), zeros.bytes().first(bytes)));
  }
  return file.sync_data();
}

Result<JournalFile> create_journal_file(io::FileSystem& files, const std::string& path,
                                        const JournalFileHeader& header) {
  TIDELOG_ASSIGN(const bool exists, files.exists(path));
  if (exists) TIDELOG_TRY(files.remove_file(path));
  auto made = fill_journal_file(files, path, header);
  if (made || io::is_final(made.error())) return made;
  // What was written of it takes space that others look for; should this fail too, the next
  // attempt replaces it.
  static_cast<void>(files.remove_file(path));
  return made;
}

Result<JournalFile> add_journal_file(io::FileSystem& files, const std::string& first_path,
                                     JournalFileHeader first, const std::string& path,
                                     const JournalFileHeader& header, bool again) {
  TIDELOG_ASSIGN(auto file, files.open(first_path, {.mode = io::OpenMode::kWrite, .direct = true}));
  if (again) TIDELOG_TRY(write_journal_header(*file, first));
  TIDELOG_ASSIGN(auto made, create_journal_file(files, path, header));
  first.ring_files = header.ring_files;
  TIDELOG_TRY(write_journal_header(*file, first));
  return made;
}

}  // namespace tidelog::log
