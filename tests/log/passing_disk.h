// A file system that passes everything on to another one, for tests to override a part of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "log/io/file_system.h"

namespace tidelog::log {

class PassingDisk : public io::FileSystem {
 public:
  explicit PassingDisk(io::FileSystem& below) : below_(below) {}

  Result<std::unique_ptr<io::File>> open(const std::string& path,
                                         const io::OpenOptions& options) override {
    return below_.open(path, options);
  }
  Result<bool> exists(const std::string& path) override { return below_.exists(path); }
  Result<> make_directories(const std::string& path) override {
    return below_.make_directories(path);
  }
  Result<std::vector<io::DirectoryEntry>> list(const std::string& path) override {
    return below_.list(path);
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    return below_.rename(from, to);
  }
  Result<> remove_file(const std::string& path) override { return below_.remove_file(path); }
  Result<> remove_directory(const std::string& path) override {
    return below_.remove_directory(path);
  }
  Result<> sync_directory(const std::string& path) override { return below_.sync_directory(path); }
  Result<> sync_all(const std::string& path) override { return below_.sync_all(path); }
  Result<std::unique_ptr<io::DirectoryLock>> lock_directory(const std::string& path) override {
    return below_.lock_directory(path);
  }
  Result<Space> space(const std::string& path) override { return below_.space(path); }

 private:
  io::FileSystem& below_;
};

}  // namespace tidelog::log
