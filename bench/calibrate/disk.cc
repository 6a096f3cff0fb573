#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "bench/calibrate/calibrate.h"
#include "bench/support.h"

namespace tidelog::bench {
namespace {

constexpr off_t kFileBytes = 256LL << 20;
constexpr std::size_t kLargeBlock = 1 << 20;
constexpr std::size_t kSmallWrite = 4096;
constexpr ssize_t kDestagedPiece = 512 << 10;
constexpr std::chrono::milliseconds kDestagePace{5};
constexpr const char* kName = "tidelog-calibrate.tmp";

double one_pass_mb_s(const ScratchFile& file) {
  const auto start = SteadyClock::now();
  file.write_all();
  return static_cast<double>(kFileBytes) / 1e6 / seconds_since(start);
}

double passes_mb_s(const ScratchFile& file, double seconds) {
  std::vector<float> passes;
  const auto start = SteadyClock::now();
  while (passes.size() < 3 || seconds_since(start) < seconds) {
    passes.push_back(static_cast<float>(one_pass_mb_s(file)));
  }
  return quantile_of(passes, 0.5);
}

// Reads 1 MiB pieces with so many threads for the time given.
double reads_mb_s(const ScratchFile& file, int threads, double seconds) {
  std::vector<std::size_t> bytes(static_cast<std::size_t>(threads));
  const auto start = SteadyClock::now();
  {
    std::vector<std::jthread> readers;
    for (int number = 0; number < threads; ++number) {
      readers.emplace_back([&, number] {
        const AlignedBytes into = aligned_bytes(kLargeBlock);
        const auto stride = static_cast<off_t>(kLargeBlock) * threads;
        for (off_t at = static_cast<off_t>(kLargeBlock) * number; seconds_since(start) < seconds;
             at += stride) {
          const ssize_t n = pread(file.fd(), into.get(), kLargeBlock, at % kFileBytes);
          if (n != static_cast<ssize_t>(kLargeBlock)) fail_with_errno("read the scratch file");
          bytes[static_cast<std::size_t>(number)] += kLargeBlock;
        }
      });
    }
  }
  double sum = 0;
  for (const std::size_t one : bytes) sum += static_cast<double>(one);
  return sum / 1e6 / seconds_since(start);
}

// Appends 4 KiB durably, block after block, until the time is up; adds each latency in µs.
void flush_loop(int fd, off_t first, off_t stride, double seconds,
                std::vector<float>& latencies_us) {
  const AlignedBytes block = aligned_bytes(kSmallWrite);
  const auto start = SteadyClock::now();
  for (off_t at = first; seconds_since(start) < seconds; at += stride) {
    const iovec piece{block.get(), kSmallWrite};
    const auto before = SteadyClock::now();
    if (pwritev2(fd, &piece, 1, at % kFileBytes, RWF_DSYNC) != static_cast<ssize_t>(kSmallWrite)) {
      fail_with_errno("write durably");
    }
    latencies_us.push_back(static_cast<float>(seconds_since(before) * 1e6));
  }
}

double two_flushes_s(const ScratchFile& file, double seconds) {
  std::vector<float> even;
  std::vector<float> odd;
  std::thread other([&] { flush_loop(file.fd(), kSmallWrite, 2 * kSmallWrite, seconds, odd); });
  flush_loop(file.fd(), 0, 2 * kSmallWrite, seconds, even);
  other.join();
  return static_cast<double>(even.size() + odd.size()) / seconds;
}

// What a broker does to other files while it commits: pieces written into reserved blocks, each
// made stable by a sync, at a pace that leaves the disk mostly idle.
void write_and_sync(const ScratchFile& file, double seconds) {
  const AlignedBytes piece = aligned_bytes(kDestagedPiece);
  const auto start = SteadyClock::now();
  off_t at = 0;
  for (int turn = 0; seconds_since(start) < seconds; ++turn, at += kDestagedPiece) {
    if (pwrite(file.fd(), piece.get(), kDestagedPiece, at % kFileBytes) != kDestagedPiece) {
      fail_with_errno("write the scratch file");
    }
    if (fdatasync(file.fd()) != 0) fail_with_errno("sync the scratch file");
    std::this_thread::sleep_until(start + kDestagePace * (turn + 1));
  }
}

std::vector<float> flushes_beside_syncs(const ScratchFile& file, const std::string& directory,
                                        double seconds) {
  const ScratchFile other(directory, std::string("beside-") + kName, kFileBytes);
  std::vector<float> latencies_us;
  std::jthread destage([&] { write_and_sync(other, seconds); });
  flush_loop(file.fd(), 0, kSmallWrite, seconds, latencies_us);
  return latencies_us;
}

}  // namespace

Limits measure_disk(const std::string& directory, double seconds) {
  ScratchFile file(directory, kName, kFileBytes);
  const double unwritten = one_pass_mb_s(file);
  const double written = passes_mb_s(file, seconds);
  file.rename(directory, std::string("again-") + kName);
  const double recycled = one_pass_mb_s(file);
  const double read = reads_mb_s(file, 4, seconds);
  std::vector<float> one;
  flush_loop(file.fd(), 0, kSmallWrite, seconds, one);
  const double two = two_flushes_s(file, seconds);
  std::vector<float> beside = flushes_beside_syncs(file, directory, seconds);
  return {
      {"disk_written_mb_s", written, 0,
       "D: O_DIRECT writes of 1 MiB, one after another, into blocks that were written before"},
      {"disk_unwritten_mb_s", unwritten, 0, "D into blocks that are reserved but never written"},
      {"disk_recycled_mb_s", recycled, 0,
       "D into a written file under a new name, as logs use files again"},
      {"disk_read_mb_s", read, 0, "O_DIRECT reads of 1 MiB, four at once"},
      {"flushes_s", static_cast<double>(one.size()) / seconds, 0,
       "F: durable 4 KiB appends (O_DIRECT, RWF_DSYNC) into written blocks, one in flight"},
      {"flush_p50_us", quantile_of(one, 0.5), 0, "one such append, median"},
      {"flush_p99_us", quantile_of(one, 0.99), 0, "one such append, 99th percentile"},
      {"two_flushes_s", two, 0, "F2: as F with two in flight"},
      {"flush_beside_p50_us", quantile_of(beside, 0.5), 0,
       "as F, while another file gets 512 KiB every 5 ms and an fdatasync each time, median"},
      {"flush_beside_p99_us", quantile_of(beside, 0.99), 0, "the same, 99th percentile"},
  };
}

}  // namespace tidelog::bench
