// tidelog_calibrate DIRECTORY [SECONDS]: prints what the disk under DIRECTORY and loopback allow,
// as JSON.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bench/calibrate/calibrate.h"

namespace tidelog::bench {

void fail_with_errno(const std::string& what) {
  fmt::print(stderr, "calibrate: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

}  // namespace tidelog::bench

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: tidelog_calibrate DIRECTORY [SECONDS]\n");
    return 2;
  }
  const double seconds = argc == 3 ? std::atof(argv[2]) : 2.0;
  if (seconds <= 0 || seconds > 60) {
    fmt::print(stderr, "calibrate: SECONDS must lie between 0 and 60, not {}\n", argv[2]);
    return 2;
  }
  const auto disk = tidelog::bench::measure_disk(argv[1], seconds);
  const auto loopback = tidelog::bench::measure_loopback(seconds);
  fmt::print(
      "{{\"disk_written_mb_s\": {:.0f}, \"disk_unwritten_mb_s\": {:.0f}, \"flushes_s\": {:.0f}, "
      "\"flush_p50_us\": {:.0f}, \"flush_p99_us\": {:.0f}, \"two_flushes_s\": {:.0f}, "
      "\"round_trip_p50_us\": {:.1f}, \"round_trip_p99_us\": {:.1f}, \"stream_64k_mb_s\": {:.0f}, "
      "\"stream_1m_mb_s\": {:.0f}, \"stream_cpu_s_per_gb\": {:.2f}}}\n",
      disk.written_mb_s, disk.unwritten_mb_s, disk.flushes_s, disk.flush_p50_us, disk.flush_p99_us,
      disk.two_flushes_s, loopback.round_trip_p50_us, loopback.round_trip_p99_us,
      loopback.stream_64k_mb_s, loopback.stream_1m_mb_s, loopback.stream_cpu_s_per_gb);
  return 0;
}
