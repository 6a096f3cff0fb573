#include "log/io/system_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "base/blocking_pool.h"
#include "base/logging.h"
#include "log/io/storage_error.h"
#include "log/io/system_file.h"

namespace tidelog::log::io {
namespace {

constexpr mode_t kFileMode = 0640;
constexpr mode_t kDirectoryMode = 0750;

// How long a start waits for the writes of a process that has ended, and when it says so.
constexpr std::chrono::seconds kLastWritesMax{120};
constexpr std::chrono::seconds kTellAfter{1};
constexpr std::chrono::milliseconds kLockInterval{2};

class SystemDirectoryLock final : public DirectoryLock {
 public:
  explicit SystemDirectoryLock(UniqueFd fd) : fd_(std::move(fd)) {}
  // Also where a ring that is being taken apart still has the file.
  ~SystemDirectoryLock() override { ::flock(fd_.get(), LOCK_UN); }
  int fd() const override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// What tells a process from earlier and later ones with its number, the first one of each container
// among them: its state, and when it started, in clock ticks. Nullopt: there is none.
struct ProcessLife {
  char state = '?';
  std::string started;
};
std::optional<ProcessLife> process_life(const std::string& pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(") ");  // the name may have anything in it
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 2));
  ProcessLife life;
  fields >> life.state;
  constexpr int kFieldsBetween = 18;  // proc(5): from 4, the parent, to 21
  for (int i = 0; i < kFieldsBetween && fields; ++i) fields >> life.started;
  fields >> life.started;
  return fields ? std::optional(life) : std::nullopt;
}

// Who is named in a lock file: a number, and when that process started ("" in older files).
struct Holder {
  std::string pid = "unknown";
  std::string started;
};
Holder holder(int fd) {
  std::array<char, 64> text{};
  const ssize_t length = ::pread(fd, text.data(), text.size(), 0);
  std::istringstream words(
      std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))));
  Holder holder;
  long long number = 0;
  if (words >> number && number > 0) holder.pid = std::to_string(number);
  words >> holder.started;
  return holder;
}

// Whether it has ended, waited for by its parent or not, as far as can be seen from here.
bool has_ended(const Holder& holder) {
  if (holder.pid == "unknown") return false;
  const std::optional<ProcessLife> life = process_life(holder.pid);
  if (!life) return true;
  const bool is_another = !holder.started.empty() && holder.started != life->started;
  return is_another || life->state == 'Z' || life->state == 'X';
}

// Locks the file. While the one who holds it is a process that has ended, its last writes are under
// way: they are waited for.
Result<> lock_file(int fd, const std::string& directory, const std::string& name) {
  const auto begin = std::chrono::steady_clock::now();
  bool is_told = false;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(storage_error(errno, "lock", name));
    const Holder held_by = holder(fd);
    const std::string& pid = held_by.pid;
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (!has_ended(held_by)) {
      return fail(ErrorCode::kDirectoryInUse,
                  fmt::format("directory '{}' is in use by process {}", directory, pid));
    }
    if (waited > kLastWritesMax) {
      return fail(ErrorCode::kDirectoryInUse,
                  fmt::format("directory '{}' is in use by process {}, which is not to be found "
                              "here: its last writes took more than {} s, or it runs in another "
                              "container or on another machine",
                              directory, pid, kLastWritesMax.count()));
    }
    if (!is_told && waited > kTellAfter) {
      log_warning(fmt::format(
          "waiting for the last writes in '{1}' of process {0}, which is not to be found any more",
          pid, directory));
      is_told = true;
    }
    std::this_thread::sleep_for(kLockInterval);
  }
  return {};
}

// Lets the kernel forget what it has in memory of the files in a directory, but what is still to be
// written. The pages of a write whose sync failed count as written: a later sync says that all is
// well, and who reads them builds on what the device may not have. What cannot be listed or opened
// is left to those who read it, and say so.
Result<> forget_cached(SystemFileSystem& files, const std::string& directory, bool and_below) {
  const auto entries = files.list(directory);
  if (!entries) return is_final(entries.error()) ? Result<>() : fail(entries.error());
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = directory + "/" + entry.name;
    if (entry.is_directory) {
      if (and_below) TIDELOG_TRY(forget_cached(files, path, true));
      continue;
    }
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    if (fd) {
      ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);  // fails for what is no file only
    } else if (Error error = storage_error(errno, "open", path); !is_final(error)) {
      return fail(std::move(error));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<File>> SystemFileSystem::open(const std::string& path,
                                                     const OpenOptions& options) {
  check_may_block("open");
  OpenOptions effective = options;
  effective.direct = options.direct && direct_io_;
  int flags = O_CLOEXEC | (options.mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
  if (options.mode == OpenMode::kCreate) flags |= O_CREAT | O_EXCL;
  if (effective.direct) flags |= O_DIRECT;
  UniqueFd fd(::open(path.c_str(), flags, kFileMode));
  if (!fd) {
    return fail(storage_error(errno, options.mode == OpenMode::kCreate ? "create" : "open", path));
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail(storage_error(errno, "stat", path));
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kStorageFailed, fmt::format("open '{}': not a regular file", path));
  }
  return std::make_unique<SystemFile>(std::move(fd), path, effective);
}

Result<bool> SystemFileSystem::exists(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail(storage_error(errno, "stat", path));
}

Result<> SystemFileSystem::make_directories(const std::string& path) {
  check_may_block("mkdir");
  for (std::size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), kDirectoryMode) == 0 || errno == EEXIST) continue;
    return fail(storage_error(errno, "make directory", part));
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail(storage_error(errno, "stat", path));
  if (!S_ISDIR(status.st_mode)) return fail(storage_error(ENOTDIR, "make directory", path));
  return {};
}

Result<std::vector<DirectoryEntry>> SystemFileSystem::list(const std::string& path) {
  check_may_block("readdir");
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (directory == nullptr) return fail(storage_error(errno, "list", path));
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    DirectoryEntry found{.name = entry->d_name, .is_directory = entry->d_type == DT_DIR};
    if (found.name == "." || found.name == "..") continue;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat status{};
      const std::string whole = path + "/" + found.name;
      if (::lstat(whole.c_str(), &status) != 0) return fail(storage_error(errno, "stat", whole));
      found.is_directory = S_ISDIR(status.st_mode);
    }
    entries.push_back(std::move(found));
  }
  if (errno != 0) return fail(storage_error(errno, "list", path));
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

Result<> SystemFileSystem::rename(const std::string& from, const std::string& to) {
  check_may_block("rename");
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  return fail(storage_error(errno, fmt::format("rename to '{}'", to), from));
}

Result<> SystemFileSystem::remove_file(const std::string& path) {
  check_may_block("unlink");
  if (::unlink(path.c_str()) == 0) return {};
  return fail(storage_error(errno, "remove", path));
}

Result<> SystemFileSystem::remove_directory(const std::string& path) {
  check_may_block("rmdir");
  if (::rmdir(path.c_str()) == 0) return {};
  // Some file systems say EEXIST for a directory that is not empty.
  return fail(storage_error(errno == EEXIST ? ENOTEMPTY : errno, "remove directory", path));
}

Result<> SystemFileSystem::sync_directory(const std::string& path) {
  check_may_block("fsync");
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::fsync(fd.get()) == 0) return {};
  const int error_number = errno;
  Error error = fd ? sync_error(error_number, "sync directory", path)
                   : storage_error(error_number, "open directory", path);
  const bool unsupported = fd ? error_number == EINVAL || error_number == EROFS
                              : error_number == EACCES || error_number == EPERM;
  if (unsupported) return fail(ErrorCode::kUnsupportedFeature, error.message());
  return fail(std::move(error));
}

Result<> SystemFileSystem::sync_all(const std::string& path) {
  check_may_block("syncfs");
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(storage_error(errno, "open directory", path));
  if (::syncfs(fd.get()) == 0) return {};
  return fail(sync_error(errno, "sync the file system of", path));
}

Result<std::unique_ptr<DirectoryLock>> SystemFileSystem::lock_directory(const std::string& path) {
  check_may_block("flock");
  const std::string name = path + "/lock";
  UniqueFd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode));
  if (!fd) return fail(storage_error(errno, "open", name));
  TIDELOG_TRY(lock_file(fd.get(), path, name));
  const std::optional<ProcessLife> self = process_life("self");
  const std::string pid = fmt::format("{} {}\n", ::getpid(), self ? self->started : "");
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    // The lock holds without the number; a full disk must not keep a broker from starting.
    if (errno != ENOSPC && errno != EDQUOT) return fail(storage_error(errno, "write", name));
  }
  auto lock = std::make_unique<SystemDirectoryLock>(std::move(fd));
  // Files that are written unbuffered are all below; those in the directory itself are small.
  TIDELOG_TRY(forget_cached(*this, path, /*and_below=*/!direct_io_));
  return lock;
}

Result<FileSystem::Space> SystemFileSystem::space(const std::string& path) {
  check_may_block("statvfs");
  struct statvfs status{};
  if (::statvfs(path.c_str(), &status) != 0) return fail(storage_error(errno, "statvfs", path));
  return Space{.free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize,
               .total_bytes = std::uint64_t{status.f_blocks} * status.f_frsize};
}

}  // namespace tidelog::log::io
