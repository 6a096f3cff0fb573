#include "tools/input_plan.h"

#include <fmt/format.h>

#include <utility>

#include "tools/command_line.h"
#include "tools/escapes.h"

namespace tidelog::tools {
namespace {

std::unexpected<Error> misuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

Result<std::string> parse_delimiter(const std::string& text, std::string_view option) {
  auto delimiter = unescape(text);
  if (!delimiter) return fail(delimiter.error().with_context(option));
  if (delimiter->empty()) return misuse(fmt::format("{} needs at least one character", option));
  return delimiter;
}

Result<std::vector<client::Header>> parse_headers(const std::vector<std::string>& pairs) {
  std::vector<client::Header> headers;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos) {
      return misuse(fmt::format("-H '{}' is no key=value, such as source=test", pair));
    }
    headers.push_back({pair.substr(0, equals), pair.substr(equals + 1)});
  }
  return headers;
}

Result<> check_combination(const InputFlags& flags) {
  if (flags.key && flags.key_delimiter) {
    return misuse("-k gives all records one key, -K takes it from each line; use one of them");
  }
  if (flags.format && (flags.delimiter || flags.key_delimiter)) {
    return misuse("-f says itself where fields and records end; leave out -D and -K");
  }
  if (flags.is_whole && (flags.delimiter || flags.key_delimiter || flags.format)) {
    return misuse("--whole makes one record of each file; leave out -D, -K and -f");
  }
  if (flags.reads_json() && flags.key) {
    return misuse("the keys come with --json; leave out -k");
  }
  if (flags.reads_json() && flags.nulls_empty) {
    return misuse("--json has null for a tombstone; leave out -Z");
  }
  if (flags.keeps_partition && !flags.reads_json()) {
    return misuse("--keep-partition belongs to input with --json");
  }
  if (flags.keeps_partition && flags.partition) {
    return misuse("-p and --keep-partition both choose the partition; use one of them");
  }
  return {};
}

// For what check_combination() refuses.
void add_precedence(CommandLine& line, const CLI::App& command) {
  line.add_rivals(command, "--key", "--key-delimiter");
  line.add_rivals(command, "--format", "--delimiter");
  line.add_rivals(command, "--format", "--key-delimiter");
  for (const char* how : {"--delimiter", "--key-delimiter", "--format"}) {
    line.add_rivals(command, "--whole", how);
  }
  line.add_rivals(command, "--partition", "--keep-partition");
  // From one place --json may go with another flag that says how the input looks; then keys and
  // tombstones are that one's.
  const std::vector<std::string> looks{"--delimiter", "--key-delimiter", "--format", "--whole"};
  for (const std::string& how : looks) {
    line.add_yields(command, {{how, "--json", 1, "--json", looks}});
  }
  for (const char* name : {"--key", "--tombstone"}) {
    line.add_yields(command,
                    {{name, "--json", 1, "--json", looks}, {"--json", name, 1, "--json", looks}});
  }
}

}  // namespace

void InputFlags::add_to(CommandLine& line, CLI::App& command) {
  command.add_option("-k,--key", key, "Key of all records")->type_name("KEY");
  command
      .add_option("-K,--key-delimiter", key_delimiter,
                  "The line up to this is the key; lines without it have none")
      ->type_name("DELIM");
  command.add_option("-p,--partition", partition,
                     "Partition (default: by key; without key whole batches in turn)");
  add_repeated(command, "-H,--header", headers, "Header of all records; may be repeated")
      ->type_name("KEY=VALUE");
  command.add_option("-D,--delimiter", delimiter, "Ends a record (default: \\n)")
      ->type_name("DELIM");
  command.add_option("-f,--format", format, "Format of the input, such as '%k %v\\n'")
      ->type_name("FORMAT");
  command.add_flag("--whole", is_whole, "Each file is one record, stdin too");
  command.add_flag("-Z,--tombstone", nulls_empty, "An empty value is null: a tombstone");
  command.add_flag("--json", is_json,
                   "Read what consume --json prints (unless -f, -D, -K or --whole says how), and\n"
                   "print the summary as JSON on stdout (on stderr with -o)");
  command.add_flag("--keep-partition", keeps_partition,
                   "With --json: each record into the partition it names");
  add_precedence(line, command);
}

Result<RecordSourceOptions> plan_input(const InputFlags& flags, const std::string& topic,
                                       std::vector<std::string> files) {
  TIDELOG_TRY(check_combination(flags));
  RecordSourceOptions source;
  source.files = std::move(files);
  source.nulls_empty = flags.nulls_empty;
  if (flags.is_whole) source.kind = InputKind::kWhole;
  if (flags.reads_json()) source.kind = InputKind::kJson;
  source.keeps_partition = flags.keeps_partition;
  if (flags.delimiter) {
    TIDELOG_ASSIGN(source.delimiter, parse_delimiter(*flags.delimiter, "--delimiter"));
  }
  if (flags.key_delimiter) {
    TIDELOG_ASSIGN(source.key_delimiter, parse_delimiter(*flags.key_delimiter, "--key-delimiter"));
  }
  if (flags.format) {
    TIDELOG_ASSIGN(Format format, of_flag("--format", Format::parse(*flags.format)));
    TIDELOG_ASSIGN(source.reader, of_flag("--format", FormatReader::make(std::move(format))));
    source.kind = InputKind::kFormat;
  }
  source.base.topic = topic;
  source.base.key = flags.key;
  source.base.partition = flags.partition;
  TIDELOG_ASSIGN(source.base.headers, parse_headers(flags.headers));
  return source;
}

}  // namespace tidelog::tools
