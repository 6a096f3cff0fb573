#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "bench/calibrate/calibrate.h"

namespace tidelog::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr off_t kFileBytes = 256LL << 20;
constexpr std::size_t kLargeWrite = 1 << 20;
constexpr std::size_t kSmallWrite = 4096;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedBytes = std::unique_ptr<unsigned char, FreeDeleter>;

AlignedBytes aligned_bytes(std::size_t size) {
  AlignedBytes bytes(static_cast<unsigned char*>(std::aligned_alloc(4096, size)));
  if (bytes == nullptr) fail_with_errno("allocate memory");
  // Not zeros: some disks treat zeros specially.
  for (std::size_t i = 0; i < size; ++i) bytes.get()[i] = static_cast<unsigned char>(i * 131 + 7);
  return bytes;
}

class ScratchFile {
 public:
  ScratchFile(const std::string& directory, const char* name)
      : path_(directory + "/" + name),
        fd_(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600)) {
    if (fd_ < 0) fail_with_errno("open " + path_ + " with O_DIRECT");
    if (posix_fallocate(fd_, 0, kFileBytes) != 0) fail_with_errno("reserve 256 MiB for " + path_);
    if (fsync(fd_) != 0) fail_with_errno("sync " + path_);
  }
  ~ScratchFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  int fd() const { return fd_; }

  void write_all(const unsigned char* block) const {
    for (off_t at = 0; at < kFileBytes; at += kLargeWrite) {
      if (pwrite(fd_, block, kLargeWrite, at) != static_cast<ssize_t>(kLargeWrite)) {
        fail_with_errno("write " + path_);
      }
    }
    if (fdatasync(fd_) != 0) fail_with_errno("sync " + path_);
  }

 private:
  std::string path_;
  int fd_;
};

double one_pass_mb_s(const ScratchFile& file, const unsigned char* block) {
  const auto start = SteadyClock::now();
  file.write_all(block);
  return static_cast<double>(kFileBytes) / 1e6 / seconds_since(start);
}

// Appends 4 KiB durably, block after block, until the time is up; adds each latency in µs.
void flush_loop(int fd, off_t first, off_t stride, double seconds,
                std::vector<double>& latencies_us) {
  const AlignedBytes block = aligned_bytes(kSmallWrite);
  const auto start = SteadyClock::now();
  for (off_t at = first; seconds_since(start) < seconds; at += stride) {
    const iovec piece{block.get(), kSmallWrite};
    const auto before = SteadyClock::now();
    if (pwritev2(fd, &piece, 1, at % kFileBytes, RWF_DSYNC) != static_cast<ssize_t>(kSmallWrite)) {
      fail_with_errno("write durably");
    }
    latencies_us.push_back(seconds_since(before) * 1e6);
  }
}

}  // namespace

DiskLimits measure_disk(const std::string& directory, double seconds) {
  DiskLimits limits;
  const AlignedBytes large = aligned_bytes(kLargeWrite);
  const ScratchFile file(directory, "tidelog-calibrate.tmp");
  limits.unwritten_mb_s = one_pass_mb_s(file, large.get());

  std::vector<double> passes;
  const auto start = SteadyClock::now();
  while (passes.size() < 3 || seconds_since(start) < seconds) {
    passes.push_back(one_pass_mb_s(file, large.get()));
  }
  std::ranges::sort(passes);
  limits.written_mb_s = passes[passes.size() / 2];

  std::vector<double> one;
  flush_loop(file.fd(), 0, kSmallWrite, seconds, one);
  limits.flushes_s = static_cast<double>(one.size()) / seconds;
  std::ranges::sort(one);
  limits.flush_p50_us = one[one.size() / 2];
  limits.flush_p99_us = one[one.size() * 99 / 100];

  std::vector<double> even;
  std::vector<double> odd;
  std::thread other([&] { flush_loop(file.fd(), kSmallWrite, 2 * kSmallWrite, seconds, odd); });
  flush_loop(file.fd(), 0, 2 * kSmallWrite, seconds, even);
  other.join();
  limits.two_flushes_s = static_cast<double>(even.size() + odd.size()) / seconds;
  return limits;
}

}  // namespace tidelog::bench
