// A format, and input that was printed by it or by nobody. Where a format can be read, what it
// printed is read back, and nothing but bytes of the input is used.
#include "tools/format.h"

#include <string>
#include <string_view>

#include "base/check.h"
#include "tools/format_reader.h"

namespace tidelog::tools {
namespace {

// Takes a record for what it is: fields with a length before them, or whose bytes cannot be taken
// for what follows, come back.
void read_back(const Format& format, const FormatReader& reader) {
  RecordFields fields;
  fields.topic = "logs";
  fields.partition = 3;
  fields.offset = 71;
  fields.timestamp_ms = 1'700'000'000'123;
  fields.key = "q";
  fields.value = "w";
  fields.headers = {{"h", "z"}};
  std::string printed;
  format.print(fields, printed);
  ParsedRecord record;
  const auto taken = reader.read(printed, /*at_end=*/true, record);
  // A literal of the format may hold what a field printed; then the record cannot be told apart.
  for (const FormatPiece& piece : format.pieces()) {
    if (piece.field == FormatField::kLiteral &&
        piece.literal.find_first_of("logs371qwhz=0123456789abcdefABCDEF\"[]{}+/,") !=
            std::string::npos) {
      return;
    }
  }
  TIDELOG_CHECK(taken && *taken == printed.size(), "what was printed is read, all of it");
  if (format.uses(FormatField::kKey)) {
    TIDELOG_CHECK(record.key == "q", "the key comes back");
  }
  if (format.uses(FormatField::kValue)) {
    TIDELOG_CHECK(record.value == "w", "the value comes back");
  }
  if (format.uses(FormatField::kPartition)) {
    TIDELOG_CHECK(record.partition == 3, "the partition comes back");
  }
  if (format.uses(FormatField::kTimestamp)) {
    TIDELOG_CHECK(record.timestamp_ms == fields.timestamp_ms, "the timestamp comes back");
  }
}

void read_all(const FormatReader& reader, std::string_view input) {
  ParsedRecord record;
  for (int records = 0; records < 100 && !input.empty(); ++records) {
    const auto partly = reader.read(input.substr(0, input.size() / 2), /*at_end=*/false, record);
    TIDELOG_CHECK(!partly || !*partly || **partly <= input.size() / 2, "no byte behind the input");
    const auto taken = reader.read(input, /*at_end=*/true, record);
    if (!taken) return;
    TIDELOG_CHECK(*taken && **taken <= input.size(), "at the end a record is there or refused");
    if (**taken == 0) return;
    input.remove_prefix(**taken);
  }
}

void fuzz_format(std::string_view text) {
  const std::size_t end = text.find('\0');
  auto format = Format::parse(text.substr(0, end));
  if (!format) {
    TIDELOG_CHECK(!format.error().message().empty(), "a refusal has a reason");
    return;
  }
  if (format->pieces().empty()) return;
  const auto reader = FormatReader::make(*format);
  RecordFields fields;
  fields.topic = "t";
  if (end != std::string_view::npos) fields.value = fields.key = text.substr(end + 1);
  std::string printed;
  format->print(fields, printed);
  if (!reader) return;
  read_all(*reader, printed);
  if (end != std::string_view::npos) read_all(*reader, text.substr(end + 1));
  read_back(*format, *reader);
}

}  // namespace
}  // namespace tidelog::tools

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::tools::fuzz_format({reinterpret_cast<const char*>(data), size});
  return 0;
}
