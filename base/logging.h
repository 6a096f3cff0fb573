// Asynchronous, bounded logging to stderr. A call never blocks: when the queue is full the oldest
// line is dropped and counted, and the count is logged.
//
// A line is a sentence for people and, where programs will look for them, fields. As text:
//   2026-11-23T07:41:55.120+00:00 info broker 1 serves 127.0.0.1:9700 broker=1 shards=2
// As JSON, one object a line, with the keys time, level, thread and message always there and first:
//   {"time":"2026-11-23T07:41:55.120+00:00","level":"info","thread":"shard-0",
//    "message":"broker 1 serves 127.0.0.1:9700","broker":"1","shards":"2"}
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace tidelog {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kOff };

enum class LogFormat : std::uint8_t { kText, kJson };

// What a line says beside its sentence. A key is lower case with underscores, and none of time,
// level, thread, message.
struct LogField {
  std::string_view key;
  std::string value;
};
using LogFields = std::initializer_list<LogField>;

// Starts the logging thread; lines before this, or without it, go to stderr at once, as text. Call
// once.
void start_logging(LogLevel level, LogFormat format = LogFormat::kText);
// Writes what is queued and ends the thread. Safe to call twice.
void stop_logging();

LogLevel log_level();
// From now on. Thread: any.
void set_log_level(LogLevel level);
// Lines given to log_line() at this level, which the level of the log let pass, since the process
// began. Those that were lost count too. Thread: any.
std::uint64_t logged_lines(LogLevel level);
// Lines lost because the queue was full.
std::uint64_t dropped_log_lines();

// One line, without newline. Thread: any.
void log_line(LogLevel level, std::string_view message, LogFields fields = {});

inline void log_debug(std::string_view message, LogFields fields = {}) {
  log_line(LogLevel::kDebug, message, fields);
}
inline void log_info(std::string_view message, LogFields fields = {}) {
  log_line(LogLevel::kInfo, message, fields);
}
inline void log_warning(std::string_view message, LogFields fields = {}) {
  log_line(LogLevel::kWarning, message, fields);
}
inline void log_error(std::string_view message, LogFields fields = {}) {
  log_line(LogLevel::kError, message, fields);
}

}  // namespace tidelog
