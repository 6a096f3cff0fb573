// What the operating system says of this process and of the file system of its data.
#pragma once

#include <cstdint>
#include <string>

namespace tidelog::broker {

struct ProcessStats {
  double cpu_seconds = 0;  // user and system, since the start
  std::uint64_t resident_bytes = 0;
  std::uint64_t open_files = 0;
  std::uint64_t open_files_max = 0;
  double start_time_seconds = 0;  // since 1970-01-01 UTC
};
// What cannot be read is 0. Blocks, some ten microseconds. Thread: any.
ProcessStats process_stats();

struct DirectorySpace {
  std::uint64_t bytes = 0;       // of the whole file system
  std::uint64_t free_bytes = 0;  // for this process
};
// What cannot be read is 0. Blocks. Thread: any.
DirectorySpace directory_space(const std::string& directory);

}  // namespace tidelog::broker
