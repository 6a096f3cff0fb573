#include "log/io/system_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/blocking_pool.h"
#include "base/bytes.h"
#include "base/check.h"
#include "log/io/storage_error.h"

namespace tidelog::log::io {
namespace {

// Calls again what a signal interrupted.
template <typename Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

SystemFile& system_file(File& file) {
  auto* found = dynamic_cast<SystemFile*>(&file);
  TIDELOG_CHECK(found != nullptr, "the file was opened by a SystemFileSystem");
  return *found;
}

Result<bool> at_end_of_file(int fd, std::string_view path, std::uint64_t position) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail(storage_error(errno, "stat", path));
  return position >= static_cast<std::uint64_t>(status.st_size);
}

void SystemFile::check_direct(FilePosition position, const void* address,
                              std::uint64_t length) const {
  if (!options_.direct) return;
  TIDELOG_CHECK(position.value() % kBlockBytes == 0, "direct I/O at an unaligned position");
  TIDELOG_CHECK(reinterpret_cast<std::uintptr_t>(address) % kBlockBytes == 0,
                "direct I/O with unaligned memory");
  TIDELOG_CHECK(length % kBlockBytes == 0, "direct I/O of an unaligned length");
}

Result<std::size_t> SystemFile::read_at(FilePosition position, std::span<std::byte> into) {
  check_may_block("read");
  check_direct(position, into.data(), into.size());
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = position.value() + done;
    const ssize_t got = uninterrupted([&] {
      return ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(at));
    });
    if (got < 0) return fail(storage_error(errno, "read", path_));
    done += static_cast<std::size_t>(got);
    if (got == 0 || done == into.size()) break;
    // Reading on from inside a block would be refused by O_DIRECT.
    TIDELOG_ASSIGN(const bool ended, at_end_of_file(fd_.get(), path_, position.value() + done));
    if (ended) break;
  }
  return done;
}

Result<> SystemFile::write_at(FilePosition position, std::span<const std::byte> bytes) {
  check_may_block("write");
  TIDELOG_CHECK(writable(), "the file is open for reading");
  check_direct(position, bytes.data(), bytes.size());
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t put = uninterrupted([&] {
      return ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                      static_cast<off_t>(position.value() + done));
    });
    if (put < 0) return fail(storage_error(errno, "write", path_));
    // Direct I/O goes on from a whole sector only; not one came through when space ran out in it.
    const std::size_t unit = options_.direct ? std::size_t{512} : std::size_t{1};
    const std::size_t whole = align_down(static_cast<std::size_t>(put), unit);
    if (whole == 0) return fail(storage_error(ENOSPC, "write", path_));
    done += whole;
  }
  return {};
}

Result<> SystemFile::sync_data() {
  check_may_block("fdatasync");
  const std::lock_guard one_at_a_time(syncing_);
  TIDELOG_TRY(check_syncs());
  if (uninterrupted([&] { return ::fdatasync(fd_.get()); }) != 0) {
    note_failed_sync();
    return fail(sync_error(errno, "sync", path_));
  }
  return {};
}

Result<> SystemFile::check_syncs() const {
  if (!sync_failed_) return {};
  return fail(ErrorCode::kStorageFailed,
              fmt::format("sync '{}': an earlier sync of the file failed", path_));
}

Result<std::uint64_t> SystemFile::size() {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return fail(storage_error(errno, "stat", path_));
  return static_cast<std::uint64_t>(status.st_size);
}

Result<> SystemFile::truncate(std::uint64_t size) {
  check_may_block("ftruncate");
  TIDELOG_CHECK(writable(), "the file is open for reading");
  if (uninterrupted([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
    return fail(storage_error(errno, "truncate", path_));
  }
  return {};
}

Result<> SystemFile::allocate(FilePosition position, std::uint64_t length) {
  check_may_block("fallocate");
  TIDELOG_CHECK(writable(), "the file is open for reading");
  const int result = uninterrupted([&] {
    return ::fallocate(fd_.get(), 0, static_cast<off_t>(position.value()),
                       static_cast<off_t>(length));
  });
  if (result == 0) return {};
  if (errno != EOPNOTSUPP) return fail(storage_error(errno, "allocate", path_));
  TIDELOG_ASSIGN(const std::uint64_t now, size());
  if (now >= position.value() + length) return {};
  return truncate(position.value() + length);
}

Result<FilePosition> SystemFile::next_data(FilePosition position) {
  check_may_block("lseek");
  const off_t found = ::lseek(fd_.get(), static_cast<off_t>(position.value()), SEEK_DATA);
  if (found >= 0) return FilePosition(static_cast<std::uint64_t>(found));
  if (errno == EINVAL) return position;  // the file system cannot tell
  if (errno != ENXIO) return fail(storage_error(errno, "seek", path_));
  TIDELOG_ASSIGN(const std::uint64_t end, size());
  return FilePosition(std::max(end, position.value()));
}

}  // namespace tidelog::log::io
