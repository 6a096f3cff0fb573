// Where produce gets its records from: standard input or files, line by line or in a format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tidelog/record.h"
#include "tools/format_reader.h"

namespace tidelog::tools {

enum class InputKind : std::uint8_t {
  kLines,   // cut at `delimiter`, each with its key before `key_delimiter`
  kWhole,   // a file is a record
  kFormat,  // what `reader` reads
  kJson,    // an object a line, as consume --json prints it; blank lines are read over
};

struct RecordSourceOptions {
  std::vector<std::string> files{};  // "-" is standard input; none: standard input
  InputKind kind = InputKind::kLines;
  std::string delimiter = "\n";
  std::optional<std::string> key_delimiter{};
  std::optional<FormatReader> reader{};
  bool nulls_empty = false;      // an empty value becomes null
  bool keeps_partition = false;  // kJson: a record goes into the partition that it names
  // What all records share; key, value, partition and timestamp of the input come on top.
  client::Record base{};
};

class RecordSource {
 public:
  // Returns false to stop reading.
  using Take = std::function<bool(client::Record)>;

  // Fails with kNotFound: a file is not there or not readable. Nothing was read then.
  static Result<RecordSource> open(RecordSourceOptions options);

  // Hands over each record, of one file after the other, until the end, until `take` returns false
  // or `stop_fd` becomes readable. True: at the end, so that nothing was left unread. Fails with
  // kInvalidArgument (message names file and record).
  Result<bool> run(int stop_fd, const Take& take);

 private:
  explicit RecordSource(RecordSourceOptions options) : options_(std::move(options)) {}

  // Of one file; false: stopped.
  Result<bool> run_file(class InputBuffer& input, const Take& take);
  Result<bool> run_lines(class InputBuffer& input, const Take& take);
  Result<bool> run_whole(class InputBuffer& input, const Take& take);
  Result<bool> run_format(class InputBuffer& input, const Take& take);
  Result<bool> run_json(class InputBuffer& input, const Take& take);
  client::Record record_of(ParsedRecord parsed) const;

  RecordSourceOptions options_;
};

}  // namespace tidelog::tools
