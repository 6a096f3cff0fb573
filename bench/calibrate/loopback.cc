#include <sys/socket.h>

#include <thread>
#include <vector>

#include "bench/calibrate/calibrate.h"
#include "bench/loopback_pair.h"
#include "bench/support.h"

namespace tidelog::bench {
namespace {

bool receive_all(int fd, char* into, std::size_t size) {
  for (std::size_t got = 0; got < size;) {
    const ssize_t n = recv(fd, into + got, size - got, 0);
    if (n <= 0) return false;
    got += static_cast<std::size_t>(n);
  }
  return true;
}

void send_all(int fd, const char* from, std::size_t size) {
  for (std::size_t sent = 0; sent < size;) {
    const ssize_t n = send(fd, from + sent, size - sent, MSG_NOSIGNAL);
    if (n <= 0) fail_with_errno("send on loopback");
    sent += static_cast<std::size_t>(n);
  }
}

std::vector<float> round_trips_us(double seconds) {
  const LoopbackPair pair;
  std::thread echo([&] {
    char message[64];
    while (receive_all(pair.far_end(), message, sizeof message)) {
      send_all(pair.far_end(), message, sizeof message);
    }
  });
  std::vector<float> latencies_us;
  const auto start = SteadyClock::now();
  while (seconds_since(start) < seconds) {
    char message[64] = {};
    const auto before = SteadyClock::now();
    send_all(pair.near_end(), message, sizeof message);
    if (!receive_all(pair.near_end(), message, sizeof message)) {
      fail_with_errno("receive on loopback");
    }
    latencies_us.push_back(static_cast<float>(seconds_since(before) * 1e6));
  }
  shutdown(pair.near_end(), SHUT_RDWR);
  echo.join();
  return latencies_us;
}

struct Stream {
  double mb_s = 0;
  double cpu_s_per_gb = 0;       // both sides
  double send_cpu_s_per_gb = 0;  // the sender's thread
};

Stream stream(double seconds, std::size_t block) {
  const LoopbackPair pair;
  std::size_t received = 0;
  const double cpu_before = process_cpu_seconds();
  const double send_before = thread_cpu_seconds();
  std::thread sink([&] {
    std::vector<char> into(block);
    for (;;) {
      const ssize_t n = recv(pair.far_end(), into.data(), into.size(), 0);
      if (n <= 0) return;
      received += static_cast<std::size_t>(n);
    }
  });
  const std::vector<char> from(block, 'x');
  const auto start = SteadyClock::now();
  while (seconds_since(start) < seconds) send_all(pair.near_end(), from.data(), from.size());
  const double send_cpu = thread_cpu_seconds() - send_before;
  shutdown(pair.near_end(), SHUT_WR);
  sink.join();
  const double elapsed = seconds_since(start);
  const double gigabytes = static_cast<double>(received) / 1e9;
  return {.mb_s = gigabytes * 1e3 / elapsed,
          .cpu_s_per_gb = (process_cpu_seconds() - cpu_before) / gigabytes,
          .send_cpu_s_per_gb = send_cpu / gigabytes};
}

}  // namespace

Limits measure_loopback(double seconds) {
  std::vector<float> round_trips = round_trips_us(seconds);
  const Stream small = stream(seconds, 64 << 10);
  const Stream large = stream(seconds, 1 << 20);
  return {
      {"round_trip_p50_us", quantile_of(round_trips, 0.5), 1,
       "R: 64 bytes there and back over TCP, blocking sockets, median"},
      {"round_trip_p99_us", quantile_of(round_trips, 0.99), 1, "the same, 99th percentile"},
      {"stream_64k_mb_s", small.mb_s, 0, "N: plain send and receive of 64 KiB blocks"},
      {"stream_1m_mb_s", large.mb_s, 0, "N with blocks of 1 MiB"},
      {"stream_cpu_s_per_gb", large.cpu_s_per_gb, 2,
       "CPU seconds per GB of both ends, blocks of 1 MiB"},
      {"send_cpu_s_per_gb", small.send_cpu_s_per_gb, 2,
       "CPU seconds per GB of the sending end alone, blocks of 64 KiB"},
  };
}

}  // namespace tidelog::bench
