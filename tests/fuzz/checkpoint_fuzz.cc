// The body of a checkpoint, or of the clean-stop marker: whatever is taken for one survives being
// written.
#include "log/checkpoint.h"

#include "base/check.h"

namespace tidelog::log {
namespace {

void fuzz_checkpoint(std::span<const std::byte> input) {
  const auto content = decode_checkpoint(input);
  if (!content) return;
  const auto written = encode_checkpoint(*content);
  TIDELOG_CHECK(written.size() == input.size(), "nothing is left over");
  const auto again = decode_checkpoint(written);
  TIDELOG_CHECK(again && *again == *content, "a checkpoint survives being written");
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::log::fuzz_checkpoint({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
