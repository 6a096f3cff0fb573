// The body of a catalog: whatever is taken for one survives being written, and goes on being one
// through the changes that a broker makes.
#include "log/catalog.h"

#include <vector>

#include "base/check.h"
#include "tests/fuzz/blocks.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::log {
namespace {

bool same(const CatalogContent& a, const CatalogContent& b) {
  return a.next_incarnation == b.next_incarnation && a.replicas == b.replicas;
}

void fuzz_catalog(std::span<const std::byte> input) {
  auto content = decode_catalog(input);
  if (!content) return;
  const auto again = decode_catalog(encode_catalog(*content));
  TIDELOG_CHECK(again && same(*content, *again), "a catalog survives being written");

  sim::SimDisk disk;
  TIDELOG_CHECK(disk.make_directories("data").has_value(), "there is a directory");
  Catalog catalog(disk, "data/catalog");
  TIDELOG_CHECK(catalog.load().has_value(), "none is there yet");
  TIDELOG_CHECK(catalog.replace(std::move(*content)).has_value(), "it is stored");
  const Catalog::Change makes{fuzz::fuzzed_partition(), ReplicaState::kLives};
  TIDELOG_CHECK(catalog.apply(std::span(&makes, 1)).has_value(), "a replica is entered");
  const Catalog::Acceptance loss{fuzz::fuzzed_partition(), {{Offset(3), Offset(5)}}};
  TIDELOG_CHECK(catalog.accept(std::span(&loss, 1)).has_value(), "a loss is accepted");
  Catalog reopened(disk, "data/catalog");
  const auto loaded = reopened.load();
  TIDELOG_CHECK(loaded && loaded->sound && reopened.replicas() == catalog.replicas(),
                "what was stored is what is loaded");
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::log::fuzz_catalog({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
