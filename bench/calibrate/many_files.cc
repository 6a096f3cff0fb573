#include <fmt/format.h>
#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <memory>

#include "bench/calibrate/calibrate.h"
#include "bench/support.h"

namespace tidelog::bench {
namespace {

constexpr unsigned kFiles = 256;
constexpr off_t kFileBytes = 256 << 10;
constexpr std::size_t kBlock = 4096;

// 256 files, each with one durable write in flight: the best that a log per partition can do.
class ManyFiles {
 public:
  explicit ManyFiles(const std::string& directory) : block_(aligned_bytes(kBlock)) {
    for (unsigned i = 0; i < kFiles; ++i) {
      files_.push_back(std::make_unique<ScratchFile>(
          directory, fmt::format("tidelog-calibrate-{}.tmp", i), kFileBytes));
      files_.back()->write_all();
    }
    errno = -io_uring_queue_init(kFiles, &ring_, 0);
    if (errno != 0) fail_as_unsupported("make an io_uring");
  }
  ~ManyFiles() { io_uring_queue_exit(&ring_); }
  ManyFiles(const ManyFiles&) = delete;
  ManyFiles& operator=(const ManyFiles&) = delete;

  double commits_s(double seconds) {
    for (unsigned i = 0; i < kFiles; ++i) write(i);
    std::uint64_t commits = 0;
    unsigned in_flight = kFiles;
    const auto start = SteadyClock::now();
    double elapsed = 0;
    while (in_flight > 0) {
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      if (submitted < 0 && submitted != -EINTR) fail_with("io_uring does not take writes");
      const bool goes_on = (elapsed = seconds_since(start)) < seconds;
      io_uring_cqe* done = nullptr;
      while (io_uring_peek_cqe(&ring_, &done) == 0) {
        if (done->res != static_cast<int>(kBlock)) fail_with("a write to one of 256 files failed");
        const auto file = static_cast<unsigned>(io_uring_cqe_get_data64(done));
        io_uring_cqe_seen(&ring_, done);
        ++commits;
        if (goes_on) {
          write(file);
        } else {
          --in_flight;
        }
      }
    }
    return static_cast<double>(commits) / elapsed;
  }

 private:
  void write(unsigned file) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    io_uring_prep_write(entry, files_[file]->fd(), block_.get(), kBlock,
                        static_cast<std::uint64_t>(positions_[file]));
    entry->rw_flags = RWF_DSYNC;
    io_uring_sqe_set_data64(entry, file);
    positions_[file] = (positions_[file] + static_cast<off_t>(kBlock)) % kFileBytes;
  }

  AlignedBytes block_;
  std::vector<std::unique_ptr<ScratchFile>> files_;
  std::vector<off_t> positions_ = std::vector<off_t>(kFiles);
  io_uring ring_{};
};

}  // namespace

Limits measure_many_files(const std::string& directory, double seconds) {
  ManyFiles files(directory);
  return {
      {"commits_256_files_s", files.commits_s(seconds), 0,
       "F256: durable commits of up to 4 KiB spread over 256 files, one in flight for each: what "
       "a log of its own for each partition could do with 1 KiB"}};
}

}  // namespace tidelog::bench
