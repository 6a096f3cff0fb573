// What the storage below a data directory can do, found by trying it when a broker starts.
//
// The probe writes, reads and syncs a file that has no name, in the way that the queues will: with
// O_DIRECT and RWF_DSYNC, else write and fdatasync, else buffered and fdatasync; through io_uring,
// else through threads. Nothing of it stays.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "log/io/file_system_kind.h"

namespace tidelog::log::io {

enum class IoBackend : std::uint8_t {
  kAuto,     // io_uring where it works, else threads
  kRing,     // io_uring or an error
  kThreads,  // threads, even where io_uring works
};

// "auto", "ring", "threads". Fails with kInvalidArgument, naming the three.
Result<IoBackend> parse_io_backend(std::string_view word);
std::string_view to_string(IoBackend backend);

struct ProbeOptions {
  IoBackend backend = IoBackend::kAuto;
  bool allow_network_file_system = false;
};

struct StorageProfile {
  bool direct = false;  // O_DIRECT works: for SystemFileSystem
  bool dsync = false;   // RWF_DSYNC works; else each durable write is followed by fdatasync
  bool ring = false;    // io_uring works and was not forbidden
  FileSystemKind file_system;

  // One sentence for the log: "'/data' on ext4 is written through io_uring with O_DIRECT and
  // RWF_DSYNC".
  std::string summary;
  // Sentences for the log, /ready and `cluster status`: what is not stable storage, what is weaker,
  // what is slower than it could be and why.
  std::vector<std::string> warnings;

  // False: acknowledged records may be lost with the power whatever Tidelog does.
  bool stable() const { return file_system.stability != Stability::kNotStable; }
  // "io_uring, O_DIRECT + RWF_DSYNC".
  std::string mode() const;
};

// Makes `directory` if it is not there. Blocks, a few milliseconds.
// Fails with kUnsupportedFeature (a network file system that was not allowed; kRing without
// io_uring), kStorageFailed. A full disk is no failure: what could not be tried is taken from what
// opens.
Result<StorageProfile> probe_storage(const std::string& directory, const ProbeOptions& options);

}  // namespace tidelog::log::io
