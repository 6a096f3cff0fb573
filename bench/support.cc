#include "bench/support.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace tidelog::bench {
namespace {

constexpr std::size_t kWriteBytesMax = 1 << 20;

double cpu_seconds_of(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

[[noreturn]] void end_with(const std::string& what, int code) {
  fmt::print(stderr, "bench: {}\n", what);
  std::_Exit(code);  // other threads still run
}

}  // namespace

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double process_cpu_seconds() { return cpu_seconds_of(RUSAGE_SELF); }
double thread_cpu_seconds() { return cpu_seconds_of(RUSAGE_THREAD); }

void fail_with(const std::string& what) { end_with(what, 1); }

void fail_with_errno(const std::string& what) {
  fail_with(fmt::format("{}: {}", what, std::strerror(errno)));
}

void fail_as_unsupported(const std::string& what) {
  end_with(fmt::format("{}: {}", what, std::strerror(errno)), 77);
}

double quantile_of(std::vector<float>& values, double quantile) {
  if (values.empty()) return 0;
  const auto rank = std::min(
      values.size() - 1, static_cast<std::size_t>(static_cast<double>(values.size()) * quantile));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), at, values.end());
  return static_cast<double>(*at);
}

AlignedBytes aligned_bytes(std::size_t size) {
  AlignedBytes bytes(static_cast<unsigned char*>(std::aligned_alloc(4096, size)));
  if (bytes == nullptr) fail_with_errno("allocate memory");
  for (std::size_t i = 0; i < size; ++i) bytes.get()[i] = static_cast<unsigned char>(i * 131 + 7);
  return bytes;
}

ScratchFile::ScratchFile(const std::string& directory, const std::string& name, off_t bytes)
    : path_(directory + "/" + name),
      bytes_(bytes),
      fd_(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600)) {
  if (fd_ < 0) fail_as_unsupported("open " + path_ + " with O_DIRECT");
  errno = posix_fallocate(fd_, 0, bytes);
  if (errno != 0) fail_with_errno(fmt::format("reserve {} bytes for {}", bytes, path_));
  if (fsync(fd_) != 0) fail_with_errno("sync " + path_);
}

ScratchFile::~ScratchFile() {
  close(fd_);
  unlink(path_.c_str());
}

void ScratchFile::write_all() const {
  const std::size_t piece = std::min(kWriteBytesMax, static_cast<std::size_t>(bytes_));
  const AlignedBytes block = aligned_bytes(piece);
  for (off_t at = 0; at < bytes_; at += static_cast<off_t>(piece)) {
    if (pwrite(fd_, block.get(), piece, at) != static_cast<ssize_t>(piece)) {
      fail_with_errno("write " + path_);
    }
  }
  if (fdatasync(fd_) != 0) fail_with_errno("sync " + path_);
}

void ScratchFile::rename(const std::string& directory, const std::string& name) {
  const std::string to = directory + "/" + name;
  if (std::rename(path_.c_str(), to.c_str()) != 0) fail_with_errno("rename " + path_);
  path_ = to;
  const int parent = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0 || fsync(parent) != 0) fail_with_errno("sync " + directory);
  close(parent);
}

}  // namespace tidelog::bench
