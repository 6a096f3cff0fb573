#include "log/io/storage_probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>

#include "base/buffer_pool.h"
#include "log/io/probe_loop.h"
#include "log/io/ring_io_queue.h"
#include "log/io/storage_error.h"
#include "log/io/system_file.h"
#include "log/io/system_file_system.h"

namespace tidelog::log::io {
namespace {

constexpr std::chrono::seconds kRingLimit{5};

// A file of `directory` that has no name any more.
Result<UniqueFd> nameless_file(const std::string& directory) {
  const std::string path = fmt::format("{}/probe-{}.tmp", directory, ::getpid());
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return fail(storage_error(errno, "create", path));
  if (::unlink(path.c_str()) != 0) return fail(storage_error(errno, "remove", path));
  return fd;
}

enum class Attempt : std::uint8_t { kWorks, kRefused, kFull };

// Writes a block in two pieces of 512-byte multiples, syncs, and reads it back. kRefused: this way
// of writing is not to be had here. Fails when the storage itself does.
Result<Attempt> try_block(int fd, const std::string& directory, bool dsync) {
  Buffer memory = Buffer::allocate(3 * kBlockBytes);
  std::memset(memory.data(), 0x5A, memory.capacity());
  std::byte* const read_back = memory.data() + 2 * kBlockBytes;
  std::memset(read_back, 0, kBlockBytes);
  const std::array<iovec, 2> pieces{iovec{memory.data(), 512},
                                    iovec{memory.data() + kBlockBytes, kBlockBytes - 512}};
  const ssize_t put =
      ::pwritev2(fd, pieces.data(), static_cast<int>(pieces.size()), 0, dsync ? RWF_DSYNC : 0);
  if (put < 0 && (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
    return Attempt::kRefused;
  }
  if (put < 0) {
    const Error error = storage_error(errno, "write a probe in", directory);
    if (error.code() == ErrorCode::kStorageFull) return Attempt::kFull;
    return fail(error);
  }
  if (put != static_cast<ssize_t>(kBlockBytes)) return Attempt::kFull;
  if (!dsync && ::fdatasync(fd) != 0) {
    return fail(storage_error(errno, "sync a probe in", directory));
  }
  if (::pread(fd, read_back, kBlockBytes, 0) != static_cast<ssize_t>(kBlockBytes)) {
    return fail(storage_error(errno, "read a probe in", directory));
  }
  if (std::memcmp(read_back, memory.data(), kBlockBytes) != 0) {
    return fail(ErrorCode::kStorageFailed,
                fmt::format("'{}' gave back other bytes than were written", directory));
  }
  return Attempt::kWorks;
}

bool set_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
}

// Direct or not, RWF_DSYNC or not; the descriptor ends in the mode found.
Result<> probe_writes(UniqueFd& fd, const std::string& directory, StorageProfile& profile) {
  for (const bool direct : {true, false}) {
    if (direct && !set_direct(fd.get())) continue;
    if (!direct && profile.direct) break;
    // Buffered, RWF_DSYNC would be a write to the device for each; fdatasync is the mode promised.
    for (const bool dsync : {direct, false}) {
      TIDELOG_ASSIGN(const Attempt attempt, try_block(fd.get(), directory, dsync));
      if (attempt == Attempt::kRefused) continue;
      if (attempt == Attempt::kFull) {
        profile.warnings.push_back(
            fmt::format("'{}' is full: how it can be written was not tried", directory));
      }
      profile.direct = direct;
      profile.dsync = dsync;
      return {};
    }
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_DIRECT) != 0) {
      return fail(storage_error(errno, "set up a probe in", directory));
    }
  }
  return fail(ErrorCode::kStorageFailed, fmt::format("'{}' takes no writes", directory));
}

// Nothing when a ring wrote, synced and read the file; else why not.
std::optional<std::string> try_ring(UniqueFd fd, const std::string& directory,
                                    const StorageProfile& profile) {
  ProbeLoop loop;
  auto ring = RingIoQueue::create(
      loop, {.dsync = profile.dsync, .in_kernel_max = 8, .watcher = loop.watcher()});
  if (!ring) return ring.error().message();
  SystemFile file(std::move(fd), directory, {.mode = OpenMode::kWrite, .direct = profile.direct});
  Buffer written = Buffer::allocate(kBlockBytes);
  Buffer read_back = Buffer::allocate(kBlockBytes);
  std::memset(written.data(), 0xA5, written.capacity());
  const std::span<const std::byte> piece = written.bytes();
  int left = 2;
  std::optional<std::string> problem;
  bool full = false;
  const auto ended = [&](const auto& result) {
    --left;
    if (result) return;
    // A full disk says nothing against the ring.
    if (result.error().code() == ErrorCode::kStorageFull) {
      full = true;
    } else if (!problem) {
      problem = result.error().message();
    }
  };
  (*ring)->write(file, FilePosition(0), {&piece, 1}, Durability::kDurable,
                 [&](const Result<>& result) {
                   ended(result);
                   (*ring)->read(file, FilePosition(0), read_back.bytes(), ended);
                   (*ring)->submit();
                 });
  (*ring)->submit();
  const bool in_time = loop.run_until([&] { return left == 0; }, kRingLimit);
  ring->reset();
  if (!in_time) return "io_uring did not complete a write in 5 seconds";
  if (!problem && !full && std::memcmp(read_back.data(), written.data(), kBlockBytes) != 0) {
    return "io_uring gave back other bytes than were written";
  }
  return problem;
}

void describe(const std::string& directory, StorageProfile& profile) {
  profile.summary = fmt::format(
      "'{}' on {} is written through {} with {}", directory, profile.file_system.type,
      profile.ring ? "io_uring" : "threads",
      profile.direct ? (profile.dsync ? "O_DIRECT and RWF_DSYNC" : "O_DIRECT and fdatasync")
                     : "buffered writes and fdatasync");
  if (!profile.direct) {
    profile.warnings.push_back(
        fmt::format("'{}' takes no O_DIRECT: writes go through the page cache", directory));
  }
  const FileSystemKind& kind = profile.file_system;
  switch (kind.stability) {
    case Stability::kStable:
      break;
    case Stability::kNotStable:
      profile.warnings.push_back(fmt::format("'{}' is not on stable storage ({} is {})", directory,
                                             kind.type, kind.reason));
      break;
    case Stability::kWeaker:
      profile.warnings.push_back(
          fmt::format("'{}' is on {} {}", directory, kind.type, kind.reason));
      break;
    case Stability::kNetwork:
      profile.warnings.push_back(
          fmt::format("'{}' is on {}, {}", directory, kind.type, kind.reason));
      break;
  }
}

}  // namespace

Result<IoBackend> parse_io_backend(std::string_view word) {
  for (const IoBackend backend : {IoBackend::kAuto, IoBackend::kRing, IoBackend::kThreads}) {
    if (word == to_string(backend)) return backend;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is no I/O backend; choose auto, ring or threads", word));
}

std::string_view to_string(IoBackend backend) {
  switch (backend) {
    case IoBackend::kAuto:
      return "auto";
    case IoBackend::kRing:
      return "ring";
    case IoBackend::kThreads:
      return "threads";
  }
  return "unknown";
}

std::string StorageProfile::mode() const {
  return fmt::format(
      "{}, {}", ring ? "io_uring" : "threads",
      direct ? (dsync ? "O_DIRECT + RWF_DSYNC" : "O_DIRECT + fdatasync") : "buffered + fdatasync");
}

Result<StorageProfile> probe_storage(const std::string& directory, const ProbeOptions& options) {
  TIDELOG_TRY(SystemFileSystem(false).make_directories(directory));
  StorageProfile profile;
  TIDELOG_ASSIGN(profile.file_system, file_system_kind(directory));
  if (profile.file_system.stability == Stability::kNetwork && !options.allow_network_file_system) {
    return fail(ErrorCode::kUnsupportedFeature,
                fmt::format("'{}' is on {}, {}; use a local disk, or allow network file systems "
                            "in the settings",
                            directory, profile.file_system.type, profile.file_system.reason));
  }
  TIDELOG_ASSIGN(UniqueFd fd, nameless_file(directory));
  TIDELOG_TRY(probe_writes(fd, directory, profile));
  if (options.backend != IoBackend::kThreads) {
    const std::optional<std::string> problem = try_ring(std::move(fd), directory, profile);
    profile.ring = !problem;
    if (problem && options.backend == IoBackend::kRing) {
      return fail(ErrorCode::kUnsupportedFeature, *problem);
    }
    if (problem) profile.warnings.push_back(fmt::format("threads do the I/O: {}", *problem));
  }
  describe(directory, profile);
  return profile;
}

}  // namespace tidelog::log::io
