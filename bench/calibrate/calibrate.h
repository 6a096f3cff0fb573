// What this machine's disk and loopback allow, measured with as little between us and the kernel as
// possible. Every figure of bench/run is read beside these, taken in the same run.
#pragma once

#include <string>

namespace tidelog::bench {

struct DiskLimits {
  double written_mb_s =
      0;  // D: 1 MiB O_DIRECT sequential writes into blocks written before, one at a time
  double unwritten_mb_s = 0;  // D: the same into fallocated, never written blocks
  double flushes_s =
      0;  // F: 4 KiB O_DIRECT + RWF_DSYNC into written blocks, one in flight, per second
  double flush_p50_us = 0;
  double flush_p99_us = 0;
  double two_flushes_s = 0;  // F2: the same with two in flight
};

// Uses a file of 256 MiB in `directory`, removed afterwards. Each measurement takes about
// `seconds`. Ends the process with a message where the directory does not allow direct I/O.
DiskLimits measure_disk(const std::string& directory, double seconds);

struct LoopbackLimits {
  double round_trip_p50_us = 0;  // R: 64-byte ping-pong, blocking sockets
  double round_trip_p99_us = 0;
  double stream_64k_mb_s = 0;      // N: plain send and receive of 64 KiB blocks
  double stream_1m_mb_s = 0;       // N: of 1 MiB blocks
  double stream_cpu_s_per_gb = 0;  // both sides, at 1 MiB
};

LoopbackLimits measure_loopback(double seconds);

// Ends the process: "calibrate: <what>: <errno text>".
[[noreturn]] void fail_with_errno(const std::string& what);

}  // namespace tidelog::bench
