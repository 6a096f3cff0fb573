#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/calibrate/calibrate.h"

namespace tidelog::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Two ends of one TCP connection over 127.0.0.1.
class Pair {
 public:
  Pair() {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener < 0 || bind(listener, generic, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, generic, &length) != 0) {
      fail_with_errno("listen on loopback");
    }
    near_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (near_ < 0 || connect(near_, generic, length) != 0) fail_with_errno("connect on loopback");
    far_ = accept(listener, nullptr, nullptr);
    if (far_ < 0) fail_with_errno("accept on loopback");
    close(listener);
    const int on = 1;
    setsockopt(near_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(far_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Pair() {
    close(near_);
    close(far_);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  int near_end() const { return near_; }
  int far_end() const { return far_; }

 private:
  int near_ = -1;
  int far_ = -1;
};

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

void measure_round_trip(double seconds, LoopbackLimits& limits) {
  const Pair pair;
  std::thread echo([&] {
    char message[64];
    while (receive_all(pair.far_end(), message, sizeof message)) {
      send_all(pair.far_end(), message, sizeof message);
    }
  });
  std::vector<double> latencies_us;
  const auto start = SteadyClock::now();
  while (seconds_since(start) < seconds) {
    char message[64] = {};
    const auto before = SteadyClock::now();
    send_all(pair.near_end(), message, sizeof message);
    if (!receive_all(pair.near_end(), message, sizeof message))
      fail_with_errno("receive on loopback");
    latencies_us.push_back(seconds_since(before) * 1e6);
  }
  shutdown(pair.near_end(), SHUT_RDWR);
  echo.join();
  std::ranges::sort(latencies_us);
  limits.round_trip_p50_us = latencies_us[latencies_us.size() / 2];
  limits.round_trip_p99_us = latencies_us[latencies_us.size() * 99 / 100];
}

double stream_mb_s(double seconds, std::size_t block, double* cpu_s_per_gb) {
  const Pair pair;
  std::size_t received = 0;
  std::thread sink([&] {
    std::vector<char> into(block);
    for (;;) {
      const ssize_t n = recv(pair.far_end(), into.data(), into.size(), 0);
      if (n <= 0) return;
      received += static_cast<std::size_t>(n);
    }
  });
  const std::vector<char> from(block, 'x');
  const double cpu_before = cpu_seconds();
  const auto start = SteadyClock::now();
  while (seconds_since(start) < seconds) send_all(pair.near_end(), from.data(), from.size());
  shutdown(pair.near_end(), SHUT_WR);
  sink.join();
  const double elapsed = seconds_since(start);
  const double gigabytes = static_cast<double>(received) / 1e9;
  if (cpu_s_per_gb != nullptr) *cpu_s_per_gb = (cpu_seconds() - cpu_before) / gigabytes;
  return gigabytes * 1e3 / elapsed;
}

}  // namespace

LoopbackLimits measure_loopback(double seconds) {
  LoopbackLimits limits;
  measure_round_trip(seconds, limits);
  limits.stream_64k_mb_s = stream_mb_s(seconds, 64 << 10, nullptr);
  limits.stream_1m_mb_s = stream_mb_s(seconds, 1 << 20, &limits.stream_cpu_s_per_gb);
  return limits;
}

}  // namespace tidelog::bench
