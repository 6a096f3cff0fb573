// The data directory itself: whose it is (meta), that one broker runs on it (lock), and whether it
// was left in order (the clean-stop marker).
//
// meta, body: u32 format 1; i32 broker id; 32 characters cluster id; 32 characters directory id.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/checkpoint.h"
#include "log/io/file_system.h"
#include "log/log_store.h"

namespace tidelog::log {

inline constexpr std::uint32_t kMetaMagic = 0x4D444954;  // "TIDM"

std::vector<std::byte> encode_meta(const DirectoryIdentity& identity);
// Nullopt for another format or another length.
std::optional<DirectoryIdentity> decode_meta(std::span<const std::byte> body);

// Paths below a data directory.
struct DataPaths {
  std::string root;

  std::string meta() const { return root + "/meta"; }
  std::string catalog() const { return root + "/catalog"; }
  std::string checkpoint() const { return root + "/checkpoint"; }
  std::string clean_stop() const { return root + "/clean-stop"; }
  std::string journals() const { return root + "/journal"; }
  std::string journal_file(std::size_t shard, std::uint32_t number) const;
  std::string topic(const TopicId& topic) const { return root + "/" + topic.to_string(); }
  std::string partition(const TopicPartition& id) const { return root + "/" + id.to_string(); }
};

// Whether a topic's directory is there. Blocking.
Result<bool> holds_topics(io::FileSystem& files, const DataPaths& paths);
// Whether there must have been a catalog: it is made before any journal or topic.
Result<bool> needs_catalog(io::FileSystem& files, const DataPaths& paths);

// Blocking. Thread: one.
class DataDirectory {
 public:
  // Takes the directory for this process, making it where it is missing or empty, and checks whose
  // it is. Fails with kDirectoryInUse, kCorruptData (meta), kInvalidArgument (another broker's or
  // cluster's), kStorageFailed, kStorageFull.
  static Result<std::unique_ptr<DataDirectory>> take(io::FileSystem& files,
                                                     const LogStoreOptions& options);

  // The same for a directory that is there, whoever's it is; nothing is made. Fails with kNotFound
  // (no data directory), kDirectoryInUse, kCorruptData (meta), kStorageFailed.
  static Result<std::unique_ptr<DataDirectory>> take_existing(io::FileSystem& files,
                                                              const std::string& path);

  const DirectoryIdentity& identity() const { return identity_; }
  const DataPaths& paths() const { return paths_; }
  bool created() const { return created_; }
  const std::shared_ptr<io::DirectoryLock>& lock() const { return lock_; }
  const std::vector<std::string>& problems() const { return problems_; }

  // The ends of all logs if the last stop was clean. Fails with kStorageFailed.
  Result<std::optional<CheckpointContent>> read_marker();
  // Stable on return: the next start scans. Fails with kStorageFailed.
  Result<> remove_marker();
  // Stable on return. Fails with kStorageFull, kStorageFailed.
  Result<> write_marker(const CheckpointContent& content);

 private:
  DataDirectory(io::FileSystem& files, std::string root) : files_(files), paths_{std::move(root)} {}
  Result<> load_meta(const LogStoreOptions& options);

  io::FileSystem& files_;
  DataPaths paths_;
  std::shared_ptr<io::DirectoryLock> lock_;
  DirectoryIdentity identity_;
  bool created_ = false;
  std::vector<std::string> problems_;
};

}  // namespace tidelog::log
