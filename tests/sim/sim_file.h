// An open file of the simulated disk. Blocking calls go through; SimIoQueue takes the inode.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "tests/sim/sim_disk.h"

namespace tidelog::sim {

class SimFile final : public log::io::File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<SimInode> inode, std::string path,
          const log::io::OpenOptions& options)
      : disk_(disk), inode_(std::move(inode)), path_(std::move(path)), options_(options) {
    disk_.most_open_files_ = std::max(disk_.most_open_files_, ++disk_.open_files_);
  }
  ~SimFile() override { --disk_.open_files_; }
  SimFile(const SimFile&) = delete;
  SimFile& operator=(const SimFile&) = delete;

  const std::string& path() const override { return path_; }
  Result<std::size_t> read_at(FilePosition position, std::span<std::byte> into) override;
  Result<> write_at(FilePosition position, std::span<const std::byte> bytes) override;
  Result<> sync_data() override;
  Result<std::uint64_t> size() override;
  Result<> truncate(std::uint64_t size) override;
  Result<> allocate(FilePosition position, std::uint64_t length) override;
  Result<FilePosition> next_data(FilePosition position) override;

  const std::shared_ptr<SimInode>& inode() const { return inode_; }
  bool writable() const { return options_.mode != log::io::OpenMode::kRead; }

 private:
  Result<> write_part(FilePosition position, std::span<const std::byte> bytes);
  void check_writable() const;
  void check_alignment(FilePosition position, std::uintptr_t address, std::uint64_t length) const;

  SimDisk& disk_;
  const std::shared_ptr<SimInode> inode_;
  const std::string path_;
  const log::io::OpenOptions options_;
};

}  // namespace tidelog::sim
