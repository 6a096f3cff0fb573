// What a start finds in the segments of a log whose files hold anything: one or two files, as they
// are or with their checksums made right. Whatever is taken for the log is whole and in order, and
// can be read again by whoever inspects the directory.
#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "log/inspect.h"
#include "log/segment_format.h"
#include "log/segment_recovery.h"
#include "tests/fuzz/blocks.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kOptionBytes = 3;
constexpr std::string_view kDirectory = "data";

enum Options : std::uint8_t {
  kMakeSound = 1,
  kVerifyRecords = 2,
  kLimited = 4,
  kAccepted = 8,
  kCleanEnd = 16,
};

void check_found(const FoundSegments& found) {
  const Segment* before = nullptr;
  for (const auto& segment : found.segments) {
    const SegmentSummary& summary = segment->summary;
    TIDELOG_CHECK(summary.end >= summary.base, "a segment ends behind its base");
    TIDELOG_CHECK(summary.bytes <= segment->file_bytes, "a segment ends inside its file");
    if (before != nullptr) {
      TIDELOG_CHECK(before->summary.base < summary.base, "segments rise");
    }
    before = segment.get();
  }
  for (const Hole& hole : found.holes) {
    TIDELOG_CHECK(hole.begin < hole.end, "a hole holds offsets");
  }
}

void fuzz_segments(std::span<const std::byte> input) {
  if (input.size() < kOptionBytes) return;
  const auto options = std::to_integer<std::uint8_t>(input[0]);
  const std::size_t split = std::to_integer<std::size_t>(input[1]) * io::kBlockBytes;
  const Offset offset(std::to_integer<std::int64_t>(input[2]));
  auto bytes = fuzz::unpack_blocks(input.subspan(kOptionBytes));
  if ((options & kMakeSound) != 0) fuzz::make_sound(bytes);

  sim::SimDisk disk;
  const std::string directory(kDirectory);
  const std::span<const std::byte> all(bytes);
  const auto put = [&](std::span<const std::byte> file, Offset base) {
    disk.put(directory + "/" + segment_file_name(base), file);
  };
  put(all.first(split == 0 ? all.size() : std::min(split, all.size())), Offset(0));
  if (split > 0 && split < all.size()) {
    const auto base = load_le<std::int64_t>(all.data() + split + 40);
    put(all.subspan(split), Offset(std::clamp<std::int64_t>(base, 1, 1000)));
  }

  SegmentSearch search;
  search.files = &disk;
  search.directory = directory;
  search.id = fuzz::fuzzed_partition();
  search.index_interval = 512;
  search.recovery_point = (options & kVerifyRecords) != 0 ? Offset(0) : offset;
  if ((options & kLimited) != 0) search.limit = offset;
  if ((options & kAccepted) != 0) search.accepted = {{offset, offset + 3}};
  if ((options & kCleanEnd) != 0) search.clean_end = offset;
  auto found = find_segments(search);
  TIDELOG_CHECK(found.has_value(), "a disk that works can be searched");
  check_found(*found);
  TIDELOG_CHECK(find_beyond(search, *found).has_value(), "and behind the end too");
  check_found(*found);
  // Found again: what was built anew does not change what is there.
  const auto again = find_segments(search);
  TIDELOG_CHECK(again && again->segments.size() == found->segments.size(), "it is found again");

  (void)verify_path(disk, directory);
  for (const std::string& path : disk.files()) {
    (void)dump_file(disk, path, [](const DumpItem& item) {
      TIDELOG_CHECK(!item.kind.empty(), "each item says what it is");
    });
  }
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::log::fuzz_segments({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
