// What the programs of bench/ share: they measure, and end with a message where they cannot.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace tidelog::bench {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start);

// User and system time of this process, of this thread.
double process_cpu_seconds();
double thread_cpu_seconds();

// Ends the process: "bench: <what>".
[[noreturn]] void fail_with(const std::string& what);
// Ends the process: "bench: <what>: <errno text>".
[[noreturn]] void fail_with_errno(const std::string& what);

// As fail_with_errno(), with exit code 77: not this program, but the machine cannot (no O_DIRECT in
// this directory, no io_uring), which tests take for skipped.
[[noreturn]] void fail_as_unsupported(const std::string& what);

// The value below or at which the share `quantile` of all lies; 0 without values. Reorders them.
double quantile_of(std::vector<float>& values, double quantile);

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedBytes = std::unique_ptr<unsigned char, FreeDeleter>;
// `size` bytes at a multiple of 4096, a multiple of it, not zeros: some disks treat zeros
// specially.
AlignedBytes aligned_bytes(std::size_t size);

// A file for O_DIRECT with all its blocks reserved; removed at the end.
class ScratchFile {
 public:
  ScratchFile(const std::string& directory, const std::string& name, off_t bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  int fd() const { return fd_; }
  off_t bytes() const { return bytes_; }
  // Writes all of it, 1 MiB or less at a time, then syncs.
  void write_all() const;
  // Gives it another name, as a log does with a file that it uses again.
  void rename(const std::string& directory, const std::string& name);

 private:
  std::string path_;
  off_t bytes_;
  int fd_;
};

}  // namespace tidelog::bench
