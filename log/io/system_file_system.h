// The machine's file system, behind the seam of file_system.h. All calls but exists() may block
// (CHECKed in debug builds).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "log/io/file_system.h"

namespace tidelog::log::io {

// Thread: any.
class SystemFileSystem final : public FileSystem {
 public:
  // `direct_io`: what the storage probe found; false opens every file buffered, whatever its
  // options ask for.
  explicit SystemFileSystem(bool direct_io) : direct_io_(direct_io) {}

  Result<std::unique_ptr<File>> open(const std::string& path, const OpenOptions& options) override;
  Result<bool> exists(const std::string& path) override;
  Result<> make_directories(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove_file(const std::string& path) override;
  Result<> remove_directory(const std::string& path) override;
  Result<> sync_directory(const std::string& path) override;
  Result<> sync_all(const std::string& path) override;
  // Locks the file "lock" in the directory and writes this process's id into it. The file stays
  // behind; the lock ends with the holder, however it ends.
  Result<std::unique_ptr<DirectoryLock>> lock_directory(const std::string& path) override;
  Result<Space> space(const std::string& path) override;

 private:
  const bool direct_io_;
};

}  // namespace tidelog::log::io
