// Asynchronous, bounded logging to stderr. A call never blocks: when the queue is full the oldest
// line is dropped and counted, and the count is logged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidelog {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// Starts the logging thread; lines before this, or without it, go to stderr at once. Call once.
void start_logging(LogLevel level);
// Writes what is queued and ends the thread. Safe to call twice.
void stop_logging();

LogLevel log_level();
// Lines lost because the queue was full.
std::uint64_t dropped_log_lines();

// One line, without newline. Thread: any.
void log_line(LogLevel level, std::string_view message);

inline void log_debug(std::string_view message) { log_line(LogLevel::kDebug, message); }
inline void log_info(std::string_view message) { log_line(LogLevel::kInfo, message); }
inline void log_warning(std::string_view message) { log_line(LogLevel::kWarning, message); }
inline void log_error(std::string_view message) { log_line(LogLevel::kError, message); }

}  // namespace tidelog
