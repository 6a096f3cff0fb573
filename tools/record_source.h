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

struct RecordSourceOptions {
  std::vector<std::string> files;  // "-" is standard input; none: standard input
  std::string delimiter = "\n";
  // With `reader` the format says where a record ends, and the delimiters are not used.
  std::optional<std::string> key_delimiter;
  std::optional<FormatReader> reader;
  // What all records share; key, value, partition and timestamp of the input come on top.
  client::Record base;
};

class RecordSource {
 public:
  // Returns false to stop reading.
  using Take = std::function<bool(client::Record)>;

  // Fails with kNotFound: a file is not there or not readable. Nothing was read then.
  static Result<RecordSource> open(RecordSourceOptions options);

  // Hands over each record, of one file after the other, until the end, until `take` returns false
  // or `stop_fd` becomes readable. Fails with kInvalidArgument (message names file and record).
  Result<> run(int stop_fd, const Take& take);

 private:
  explicit RecordSource(RecordSourceOptions options) : options_(std::move(options)) {}

  Result<bool> run_lines(class InputBuffer& input, const Take& take);
  Result<bool> run_format(class InputBuffer& input, const Take& take);

  RecordSourceOptions options_;
};

}  // namespace tidelog::tools
