#include "base/logging.h"

#include <fmt/format.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>

namespace tidelog {
namespace {

constexpr std::size_t kQueueLines = 8192;

struct Logging {
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
};

std::mutex logging_mutex;
std::shared_ptr<Logging> current;  // guarded by logging_mutex
std::atomic<LogLevel> current_level{LogLevel::kInfo};
std::atomic<std::uint64_t> dropped_before{0};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::err;
}

std::shared_ptr<Logging> snapshot() {
  const std::lock_guard lock(logging_mutex);
  return current;
}

}  // namespace

void start_logging(LogLevel level) {
  auto logging = std::make_shared<Logging>();
  logging->pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  logging->logger = std::make_shared<spdlog::async_logger>(
      "tidelog", std::move(sink), logging->pool, spdlog::async_overflow_policy::overrun_oldest);
  logging->logger->set_level(spdlog_level(level));
  logging->logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  logging->logger->flush_on(spdlog::level::info);
  current_level.store(level, std::memory_order_relaxed);
  const std::lock_guard lock(logging_mutex);
  current = std::move(logging);
}

void stop_logging() {
  std::shared_ptr<Logging> ended;
  {
    const std::lock_guard lock(logging_mutex);
    ended = std::move(current);
    current = nullptr;
  }
  if (ended == nullptr) return;
  const std::uint64_t dropped = ended->pool->overrun_counter();
  if (dropped > 0) {
    dropped_before.fetch_add(dropped, std::memory_order_relaxed);
    ended->logger->warn("{} log lines were dropped because the queue was full", dropped);
  }
  ended->logger->flush();
  // The pool's destructor writes what is queued and joins its thread.
}

LogLevel log_level() { return current_level.load(std::memory_order_relaxed); }

std::uint64_t dropped_log_lines() {
  const auto logging = snapshot();
  return dropped_before.load(std::memory_order_relaxed) +
         (logging != nullptr ? logging->pool->overrun_counter() : 0);
}

void log_line(LogLevel level, std::string_view message) {
  if (level < log_level()) return;
  if (const auto logging = snapshot()) {
    logging->logger->log(spdlog_level(level), "{}", message);
  } else {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  }
}

}  // namespace tidelog
