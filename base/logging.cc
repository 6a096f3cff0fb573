#include "base/logging.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

namespace tidelog {
namespace {

constexpr std::size_t kQueueLines = 8192;

struct Logging {
  // Outlives the pool's thread, which holds it too: its memory goes when that has ended.
  std::shared_ptr<spdlog::async_logger> logger;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  LogFormat format = LogFormat::kText;
};

std::mutex logging_mutex;
std::shared_ptr<Logging> current;  // guarded by logging_mutex
std::atomic<LogLevel> current_level{LogLevel::kInfo};
std::atomic<std::uint64_t> dropped_before{0};
std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(LogLevel::kOff)> lines_by_level{};

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

// A JSON string; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false,
                                   nlohmann::json::error_handler_t::replace);
}

// As in logfmt: quoted where the value could not be told from what follows.
std::string text_value(const std::string& value) {
  const bool is_plain = !value.empty() && value.find_first_of(" \"=\\\n\r\t") == std::string::npos;
  return is_plain ? value : json_string(value);
}

std::string text_payload(std::string_view message, LogFields fields) {
  std::string line(message);
  for (const LogField& field : fields) {
    line += fmt::format(" {}={}", field.key, text_value(field.value));
  }
  return line;
}

// Members of the object behind "level".
std::string json_payload(std::string_view message, LogFields fields) {
  std::array<char, 16> thread{};
  pthread_getname_np(pthread_self(), thread.data(), thread.size());
  std::string line =
      fmt::format(R"("thread":{},"message":{})", json_string(thread.data()), json_string(message));
  for (const LogField& field : fields) {
    line += fmt::format(",{}:{}", json_string(field.key), json_string(field.value));
  }
  return line;
}

void write(const Logging& logging, LogLevel level, std::string_view message, LogFields fields) {
  const std::string payload = logging.format == LogFormat::kJson ? json_payload(message, fields)
                                                                 : text_payload(message, fields);
  logging.logger->log(spdlog_level(level), "{}", payload);
}

}  // namespace

void start_logging(LogLevel level, LogFormat format) {
  auto logging = std::make_shared<Logging>();
  logging->pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  logging->logger = std::make_shared<spdlog::async_logger>(
      "tidelog", std::move(sink), logging->pool, spdlog::async_overflow_policy::overrun_oldest);
  logging->format = format;
  logging->logger->set_level(spdlog::level::trace);  // log_line() has looked at the level
  logging->logger->set_pattern(format == LogFormat::kJson
                                   ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})"
                                   : "%Y-%m-%dT%H:%M:%S.%e%z %l %v");
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
    write(*ended, LogLevel::kWarning,
          fmt::format("{} log lines were dropped because the queue was full", dropped),
          {{"dropped", std::to_string(dropped)}});
  }
  ended->logger->flush();
  // The pool's destructor writes what is queued and joins its thread.
}

LogLevel log_level() { return current_level.load(std::memory_order_relaxed); }

void set_log_level(LogLevel level) { current_level.store(level, std::memory_order_relaxed); }

std::uint64_t logged_lines(LogLevel level) {
  if (level == LogLevel::kOff) return 0;
  return lines_by_level[static_cast<std::size_t>(level)].load(std::memory_order_relaxed);
}

std::uint64_t dropped_log_lines() {
  const auto logging = snapshot();
  return dropped_before.load(std::memory_order_relaxed) +
         (logging != nullptr ? logging->pool->overrun_counter() : 0);
}

void log_line(LogLevel level, std::string_view message, LogFields fields) {
  if (level < log_level() || level == LogLevel::kOff) return;
  lines_by_level[static_cast<std::size_t>(level)].fetch_add(1, std::memory_order_relaxed);
  if (const auto logging = snapshot()) {
    write(*logging, level, message, fields);
  } else {
    std::fprintf(stderr, "%s\n", text_payload(message, fields).c_str());
  }
}

}  // namespace tidelog
