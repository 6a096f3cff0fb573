// A small file kept twice: both copies hold anything, also behind headers that are made right. The
// sound copy of the higher generation counts; what is stored afterwards is what is loaded then. The
// identity in meta survives being written.
#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"
#include "log/data_directory.h"
#include "log/slot_file.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::log {
namespace {

void make_sound(std::span<std::byte> file) {
  if (file.size() < kSlotHeaderBytes) return;
  const auto body = file.subspan(kSlotHeaderBytes);
  store_le<std::uint32_t>(file.data(), kMetaMagic);
  store_le<std::uint8_t>(file.data() + 4, 1);
  store_le<std::uint64_t>(
      file.data() + 16,
      std::min<std::uint64_t>(load_le<std::uint64_t>(file.data() + 16), body.size()));
  const auto length = static_cast<std::size_t>(load_le<std::uint64_t>(file.data() + 16));
  store_le<std::uint64_t>(file.data() + 24, xxh3_64(body.first(length)));
  store_le<std::uint64_t>(file.data() + 32, xxh3_64(std::span<const std::byte>(file).first(32)));
}

void fuzz_slots(std::span<const std::byte> input) {
  if (input.size() < 2) return;
  const auto options = std::to_integer<unsigned>(input[0]);
  std::vector<std::byte> first(input.begin() + 2, input.end());
  const std::size_t cut = std::min(std::to_integer<std::size_t>(input[1]) * 4, first.size());
  std::vector<std::byte> second(first.begin() + static_cast<std::ptrdiff_t>(cut), first.end());
  first.resize(cut);
  if ((options & 1) != 0) make_sound(first);
  if ((options & 2) != 0) make_sound(second);

  sim::SimDisk disk;
  disk.put("data/meta.0", first);
  disk.put("data/meta.1", second);
  const auto one = decode_slot(kMetaMagic, first);
  const auto other = decode_slot(kMetaMagic, second);
  SlotFile file(disk, "data/meta", kMetaMagic,
                (options & 4) != 0 ? SlotPolicy::kBoth : SlotPolicy::kAlternate);
  const auto loaded = file.load();
  TIDELOG_CHECK(loaded && loaded->any_exists, "a disk that works can be read");
  TIDELOG_CHECK(loaded->content.has_value() == (one || other), "a sound copy counts");
  TIDELOG_CHECK(
      loaded->problems.size() == std::size_t{one ? 0U : 1U} + std::size_t{other ? 0U : 1U},
      "each unsound copy is told");
  if (loaded->content) {
    const std::uint64_t newest = std::max(one ? one->generation : 0, other ? other->generation : 0);
    TIDELOG_CHECK(loaded->content->generation == newest, "the newest one counts");
    if (const auto identity = decode_meta(loaded->content->body)) {
      TIDELOG_CHECK(encode_meta(*identity) == loaded->content->body,
                    "an identity survives being written");
    }
  }
  // So often nothing is ever stored: what comes then need not be outnumbered.
  if (loaded->content && loaded->content->generation >= std::uint64_t{1} << 62) return;
  const std::vector<std::byte> body(std::size_t{options}, std::byte{7});
  TIDELOG_CHECK(file.store(body).has_value(), "it can be replaced");
  SlotFile reopened(disk, "data/meta", kMetaMagic, SlotPolicy::kBoth);
  const auto replaced = reopened.load();
  TIDELOG_CHECK(replaced && replaced->content && replaced->content->body == body,
                "what was stored last is what is loaded");
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::log::fuzz_slots({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
