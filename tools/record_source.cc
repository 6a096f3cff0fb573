#include "tools/record_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "tools/input_buffer.h"
#include "tools/json_record.h"

namespace tidelog::tools {
namespace {

// Owns a descriptor that was opened here; standard input is left open.
class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<Error> cannot_read(const std::string& file, int error) {
  return fail(ErrorCode::kNotFound, fmt::format("cannot read file '{}': {}", file,
                                                std::generic_category().message(error)));
}

Result<> check_readable(const std::string& file) {
  if (file == "-") return {};
  struct stat status;
  if (stat(file.c_str(), &status) != 0) return cannot_read(file, errno);
  if (S_ISDIR(status.st_mode)) return cannot_read(file, EISDIR);
  if (access(file.c_str(), R_OK) != 0) return cannot_read(file, errno);
  return {};
}

}  // namespace

Result<RecordSource> RecordSource::open(RecordSourceOptions options) {
  if (options.files.empty()) options.files.emplace_back("-");
  for (const std::string& file : options.files) TIDELOG_TRY(check_readable(file));
  return RecordSource(std::move(options));
}

Result<bool> RecordSource::run(int stop_fd, const Take& take) {
  for (const std::string& name : options_.files) {
    const bool is_standard_input = name == "-";
    // Not blocking: opening a named pipe would wait for its writer, deaf to Ctrl-C.
    const OpenFile file(
        is_standard_input ? STDIN_FILENO : ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.fd() < 0) return cannot_read(name, errno);
    InputBuffer input(file.fd(), stop_fd, is_standard_input ? "standard input" : name);
    TIDELOG_ASSIGN(const bool goes_on, run_file(input, [this, &take](client::Record record) {
                     if (options_.nulls_empty && record.value && record.value->empty()) {
                       record.value.reset();
                     }
                     return take(std::move(record));
                   }));
    if (!goes_on || input.was_stopped()) return false;
  }
  return true;
}

Result<bool> RecordSource::run_file(InputBuffer& input, const Take& take) {
  switch (options_.kind) {
    case InputKind::kLines:
      return run_lines(input, take);
    case InputKind::kWhole:
      return run_whole(input, take);
    case InputKind::kFormat:
      return run_format(input, take);
    case InputKind::kJson:
      return run_json(input, take);
  }
  return true;
}

Result<bool> RecordSource::run_whole(InputBuffer& input, const Take& take) {
  while (true) {
    TIDELOG_ASSIGN(const InputBuffer::Fill filled, input.fill());
    if (filled == InputBuffer::Fill::kStopped) return false;
    if (filled == InputBuffer::Fill::kEnd) break;
  }
  client::Record record = options_.base;
  record.value.emplace(input.unread());
  return take(std::move(record));
}

Result<bool> RecordSource::run_json(InputBuffer& input, const Take& take) {
  RecordSplitter splitter(input, "\n");
  for (std::uint64_t number = 1;; ++number) {
    TIDELOG_ASSIGN(const std::optional<std::string_view> line, splitter.next());
    if (!line) return true;
    if (line->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto parsed = parse_json_record(*line);
    if (!parsed) {
      return fail(parsed.error().with_context(fmt::format("{}, line {}", input.name(), number)));
    }
    if (!options_.keeps_partition) parsed->partition.reset();
    if (!take(record_of(std::move(*parsed)))) return false;
  }
}

// What is parsed comes on top of what all records share.
client::Record RecordSource::record_of(ParsedRecord parsed) const {
  client::Record record = options_.base;
  if (parsed.key) record.key = std::move(parsed.key);
  record.value = std::move(parsed.value);
  for (ParsedHeader& header : parsed.headers) {
    record.headers.push_back({std::move(header.key), std::move(header.value)});
  }
  if (parsed.partition) record.partition = parsed.partition;
  record.timestamp_ms = parsed.timestamp_ms;
  return record;
}

Result<bool> RecordSource::run_lines(InputBuffer& input, const Take& take) {
  RecordSplitter splitter(input, options_.delimiter);
  while (true) {
    TIDELOG_ASSIGN(const std::optional<std::string_view> line, splitter.next());
    if (!line) return true;
    client::Record record = options_.base;
    std::string_view value = *line;
    if (options_.key_delimiter) {
      const std::size_t at = value.find(*options_.key_delimiter);
      if (at != std::string_view::npos) {
        record.key.emplace(value.substr(0, at));
        value.remove_prefix(at + options_.key_delimiter->size());
      }
    }
    record.value.emplace(value);
    if (!take(std::move(record))) return false;
  }
}

Result<bool> RecordSource::run_format(InputBuffer& input, const Take& take) {
  bool at_end = false;
  for (std::uint64_t number = 1;; ++number) {
    ParsedRecord parsed;
    std::optional<std::size_t> length;
    while (!length) {
      if (at_end && input.unread().empty()) return true;
      if (!input.unread().empty()) {
        auto read = options_.reader->read(input.unread(), at_end, parsed);
        if (!read) {
          return fail(
              read.error().with_context(fmt::format("{}, record {}", input.name(), number)));
        }
        length = *read;
      }
      if (length || at_end) continue;
      TIDELOG_ASSIGN(const InputBuffer::Fill filled, input.fill());
      if (filled == InputBuffer::Fill::kStopped) return false;
      at_end = filled == InputBuffer::Fill::kEnd;
    }
    input.consume(*length);
    if (!take(record_of(std::move(parsed)))) return false;
  }
}

}  // namespace tidelog::tools
