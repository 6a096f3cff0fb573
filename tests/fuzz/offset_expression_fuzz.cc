// What people type for -o: it is refused with a sentence, or each bound is within its limits; two
// of them join or are refused.
#include "tools/offset_expression.h"

#include <string_view>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog::tools {
namespace {

constexpr std::int64_t kNowMs = 1'767'225'600'000;

void check_bound(const std::optional<OffsetBound>& bound) {
  TIDELOG_CHECK(!bound || bound->kind == OffsetBound::Kind::kTime || bound->value >= 0,
                "offsets and distances are not negative");
}

void fuzz_expression(std::string_view text) {
  const std::size_t comma = text.find('\n');
  const auto one = parse_offset_range(text.substr(0, comma), kNowMs);
  if (!one) {
    TIDELOG_CHECK(
        one.error().code() == ErrorCode::kInvalidArgument && !one.error().message().empty(),
        "a refusal has a reason");
    return;
  }
  check_bound(one->from);
  check_bound(one->to);
  const auto same = parse_offset_range(text.substr(0, comma), kNowMs);
  TIDELOG_CHECK(same && *same == *one, "the same text means the same");
  if (comma == std::string_view::npos) return;
  const auto other = parse_offset_range(text.substr(comma + 1), kNowMs);
  if (!other) return;
  const auto joined = join_offset_ranges(*one, *other);
  if (!joined) return;
  TIDELOG_CHECK(joined->from == (one->from ? one->from : other->from) &&
                    joined->to == (one->to ? one->to : other->to),
                "each end comes from the one that says it");
}

}  // namespace
}  // namespace tidelog::tools

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::tools::fuzz_expression({reinterpret_cast<const char*>(data), size});
  return 0;
}
