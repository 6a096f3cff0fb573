#include "tools/read_progress.h"

#include <fmt/format.h>
#include <poll.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <utility>

#include "tools/quantity.h"

namespace tidelog::tools {
namespace {

constexpr int kLookIntervalMs = 100;

// Bytes that this process has read from anything; 0 where the kernel does not tell.
std::uint64_t bytes_read() {
  std::ifstream file("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  while (file >> name >> value) {
    if (name == "rchar:") return value;
  }
  return 0;
}

}  // namespace

ReadProgress::ReadProgress(Messages& messages, std::string verb)
    : messages_(messages), verb_(std::move(verb)), thread_([this] { show(); }) {}

ReadProgress::~ReadProgress() {
  finished_.set();
  thread_.join();
  messages_.clear_progress();
}

void ReadProgress::show() {
  const std::uint64_t before = bytes_read();
  const auto begin = std::chrono::steady_clock::now();
  pollfd end{finished_.fd(), POLLIN, 0};
  while (poll(&end, 1, kLookIntervalMs) <= 0) {
    if (!messages_.wants_progress()) continue;
    const std::uint64_t bytes = bytes_read() - before;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    messages_.progress(
        fmt::format("{} {}, {}/s", verb_, byte_amount(bytes),
                    byte_amount(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds))));
  }
}

}  // namespace tidelog::tools
