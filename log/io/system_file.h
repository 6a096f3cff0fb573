// An open file of the machine; the queues take its descriptor.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "log/io/file_system.h"
#include "log/io/unique_fd.h"

namespace tidelog::log::io {

// Thread: any, one at a time; the queues use the descriptor meanwhile. Closing the last descriptor
// of a file that was removed frees its space, which may take long: let a file thread do it.
class SystemFile final : public File {
 public:
  SystemFile(UniqueFd fd, std::string path, const OpenOptions& options)
      : fd_(std::move(fd)), path_(std::move(path)), options_(options) {}

  const std::string& path() const override { return path_; }
  Result<std::size_t> read_at(FilePosition position, std::span<std::byte> into) override;
  Result<> write_at(FilePosition position, std::span<const std::byte> bytes) override;
  // One at a time, and behind one that failed all fail. The kernel tells the errors of an open file
  // once, to whoever asks first: what one sync was told is missing to those beside it, which end
  // well.
  Result<> sync_data() override;
  Result<std::uint64_t> size() override;
  Result<> truncate(std::uint64_t size) override;
  // Where the file system cannot reserve space, only the size grows; writes may then fail with
  // kStorageFull.
  Result<> allocate(FilePosition position, std::uint64_t length) override;
  // What the file system has reserved and nobody wrote is no data to it.
  Result<FilePosition> next_data(FilePosition position) override;

  int fd() const { return fd_.get(); }
  bool writable() const { return options_.mode != OpenMode::kRead; }
  bool direct() const { return options_.direct; }

  // For a queue that syncs by calls of its own, one at a time. Fails behind a sync that failed.
  Result<> check_syncs() const;
  void note_failed_sync() { sync_failed_ = true; }

 private:
  void check_direct(FilePosition position, const void* address, std::uint64_t length) const;

  UniqueFd fd_;
  const std::string path_;
  const OpenOptions options_;
  std::mutex syncing_;
  std::atomic<bool> sync_failed_ = false;
};

// `file` as what SystemFileSystem::open() returned (CHECKed).
SystemFile& system_file(File& file);

// True when a read that stopped before `position` stopped at the end of the file, not early.
// Fails with kStorageFailed.
Result<bool> at_end_of_file(int fd, std::string_view path, std::uint64_t position);

}  // namespace tidelog::log::io
