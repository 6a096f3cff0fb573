#include "broker/process_stats.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace tidelog::broker {
namespace {

// Fields of /proc/self/stat behind the process's name, which may hold spaces and brackets.
constexpr int kStartTicksField = 22;  // counted from 1, as in proc(5)

double start_time_seconds() {
  std::ifstream stat("/proc/self/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= kStartTicksField; ++number) fields >> field;
  std::ifstream system("/proc/stat");
  double boot_seconds = 0;
  for (std::string key; system >> key; std::getline(system, line)) {
    if (key == "btime") {
      system >> boot_seconds;
      break;
    }
  }
  if (boot_seconds == 0) return 0;
  return boot_seconds +
         std::strtod(field.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

ProcessStats process_stats() {
  ProcessStats stats;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size_pages = 0;
  std::uint64_t resident_pages = 0;
  if (statm >> size_pages >> resident_pages) {
    stats.resident_bytes = resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  }
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++stats.open_files;
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.open_files_max = limit.rlim_cur;
  static const double started = start_time_seconds();
  stats.start_time_seconds = started;
  return stats;
}

DirectorySpace directory_space(const std::string& directory) {
  struct statvfs space{};
  if (statvfs(directory.c_str(), &space) != 0) return {};
  return {.bytes = space.f_blocks * space.f_frsize, .free_bytes = space.f_bavail * space.f_frsize};
}

}  // namespace tidelog::broker
