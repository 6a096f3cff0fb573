// Crash enumeration finds what is wrong with a program: small stores that forget one sync each are
// caught, the one that forgets none is not.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>

#include "base/buffer_pool.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_io_queue.h"

namespace tidelog::sim {
namespace {

using log::io::Durability;
using log::io::File;
using log::io::FileSystem;
using log::io::kBlockBytes;
using log::io::OpenMode;

enum class Mistake : std::uint8_t {
  kNone,
  kNoDataSync,
  kNoDirectorySync,
  kNoParentSync,
  kInPlace,
  kAcknowledgesBeforeCompletion,
  kIgnoresOrder,
};

// Runs `history`, which says what it acknowledged, once for each point at which the power can go;
// after each crash `verify` gets the disk found. Returns the first complaint.
template <typename History, typename Verify>
std::optional<std::string> enumerate_crashes(History history, Verify verify) {
  for (std::uint64_t n = 1;; ++n) {
    SimDisk disk(n);
    disk.stop_at(n);
    const int acknowledged = history(disk);
    for (const CrashPolicy& policy : disk.crash_policies(20, n)) {
      const auto found = disk.crash_image(policy);
      if (auto complaint = verify(*found, acknowledged)) {
        return *complaint + "; " + disk.stopped_by() + "; " + policy.to_string();
      }
    }
    if (!disk.powered_off()) return std::nullopt;
  }
}

// A number in a file, replaced by a new file and a rename. The data directory is made on the way.
class NumberFile {
 public:
  NumberFile(FileSystem& files, Mistake mistake) : files_(files), mistake_(mistake) {}

  Result<> store(int number) {
    TIDELOG_ASSIGN(const bool made, files_.exists("data"));
    if (!made) {
      TIDELOG_TRY(files_.make_directories("data"));
      if (mistake_ != Mistake::kNoParentSync) TIDELOG_TRY(files_.sync_directory(""));
    }
    const bool in_place = mistake_ == Mistake::kInPlace;
    const std::string path = in_place ? "data/number" : "data/number.new";
    TIDELOG_ASSIGN(const bool there, files_.exists(path));
    TIDELOG_ASSIGN(auto file,
                   files_.open(path, {.mode = there ? OpenMode::kWrite : OpenMode::kCreate}));
    // Long enough for several sectors, so that it can tear.
    const std::string text =
        std::to_string(number) + std::string(2000, ' ') + std::to_string(number);
    TIDELOG_TRY(file->write_at(FilePosition(0), as_bytes(text)));
    if (mistake_ != Mistake::kNoDataSync) TIDELOG_TRY(file->sync_data());
    if (!in_place) TIDELOG_TRY(files_.rename(path, "data/number"));
    if (mistake_ != Mistake::kNoDirectorySync) TIDELOG_TRY(files_.sync_directory("data"));
    return {};
  }

  static std::optional<std::string> verify(SimDisk& disk, int acknowledged) {
    if (!*disk.exists("data/number")) {
      if (acknowledged == 0) return std::nullopt;
      return "number " + std::to_string(acknowledged) + " is gone";
    }
    const std::vector<std::byte> bytes = disk.contents("data/number");
    const std::string text(as_text(bytes));
    const std::size_t gap = text.find(' ');
    const std::size_t last = text.rfind(' ');
    if (gap == std::string::npos || text.substr(0, gap) != text.substr(last + 1)) return "torn";
    const int number = std::atoi(text.c_str());
    if (number < acknowledged || number > acknowledged + 1)
      return "wrong number " + text.substr(0, gap);
    return std::nullopt;
  }

 private:
  FileSystem& files_;
  const Mistake mistake_;
};

std::optional<std::string> number_file_complaint(Mistake mistake) {
  return enumerate_crashes(
      [&](SimDisk& disk) {
        int acknowledged = 0;
        NumberFile file(disk, mistake);
        while (acknowledged < 3 && file.store(acknowledged + 1)) ++acknowledged;
        return acknowledged;
      },
      NumberFile::verify);
}

TEST(CrashEnumerationTest, FindsNothingWrongWithAFileThatIsReplacedInTheRightOrder) {
  EXPECT_EQ(number_file_complaint(Mistake::kNone), std::nullopt);
}

TEST(CrashEnumerationTest, FindsEverySyncThatWasForgotten) {
  EXPECT_NE(number_file_complaint(Mistake::kNoDataSync), std::nullopt);
  EXPECT_NE(number_file_complaint(Mistake::kNoDirectorySync), std::nullopt);
  EXPECT_NE(number_file_complaint(Mistake::kNoParentSync), std::nullopt);
  EXPECT_NE(number_file_complaint(Mistake::kInPlace), std::nullopt);
}

// Blocks with a number and a checksum, written two at a time through the queue and acknowledged as
// a prefix.
class BlockLog {
 public:
  static constexpr int kBlocks = 6;

  BlockLog(SimDisk& disk, Mistake mistake, std::uint64_t seed)
      : mistake_(mistake), queue_(disk, executor_, {.seed = seed}) {
    disk.put("log", {});
    file_ = std::move(disk.open("log", {.mode = OpenMode::kWrite, .direct = true})).value();
  }

  int run() {
    for (int number = 0; number < 2; ++number) append();
    queue_.submit();
    executor_.run_until_idle();
    return acknowledged_;
  }

  static std::optional<std::string> verify(SimDisk& disk, int acknowledged) {
    const std::vector<std::byte> bytes = disk.contents("log");
    int sound = 0;
    while ((sound + 1) * kBlockBytes <= bytes.size() &&
           load_le<std::uint64_t>(bytes.data() + sound * kBlockBytes) ==
               checksum_of(std::span(bytes).subspan(sound * kBlockBytes, kBlockBytes))) {
      ++sound;
    }
    if (sound >= acknowledged) return std::nullopt;
    return std::to_string(sound) + " blocks of " + std::to_string(acknowledged);
  }

 private:
  static std::uint64_t checksum_of(std::span<const std::byte> block) {
    return xxh3_64(block.subspan(8));
  }

  void append() {
    if (begun_ == kBlocks) return;
    const int number = begun_++;
    Buffer block = Buffer::allocate(kBlockBytes);
    std::memset(block.data(), number + 1, kBlockBytes);
    store_le<std::uint64_t>(block.data(), checksum_of(block.bytes()));
    const std::span<const std::byte> bytes = block.bytes();
    queue_.write(
        *file_, FilePosition(static_cast<std::uint64_t>(number) * kBlockBytes), {&bytes, 1},
        Durability::kDurable, [this, number](const Result<>&) {
          completed_[static_cast<std::size_t>(number)] = true;
          if (mistake_ == Mistake::kIgnoresOrder) {
            acknowledged_ = std::max(acknowledged_, number + 1);
          } else {
            while (acknowledged_ < kBlocks && completed_[static_cast<std::size_t>(acknowledged_)]) {
              ++acknowledged_;
            }
          }
          append();
          queue_.submit();
        });
    buffers_.push_back(std::move(block));
    if (mistake_ == Mistake::kAcknowledgesBeforeCompletion) acknowledged_ = begun_;
  }

  const Mistake mistake_;
  SimExecutor executor_;
  SimIoQueue queue_;
  std::unique_ptr<File> file_;
  std::vector<Buffer> buffers_;
  std::array<bool, kBlocks> completed_{};
  int begun_ = 0;
  int acknowledged_ = 0;
};

// Under several orders of completion: with one seed alone writes might happen to complete as
// submitted.
std::optional<std::string> block_log_complaint(Mistake mistake) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    auto complaint = enumerate_crashes(
        [&](SimDisk& disk) { return BlockLog(disk, mistake, seed).run(); }, BlockLog::verify);
    if (complaint) return complaint;
  }
  return std::nullopt;
}

TEST(CrashEnumerationTest, FindsNothingWrongWithALogThatAcknowledgesTheCompletedPrefix) {
  EXPECT_EQ(block_log_complaint(Mistake::kNone), std::nullopt);
}

TEST(CrashEnumerationTest, FindsALogThatAcknowledgesTooEarly) {
  EXPECT_NE(block_log_complaint(Mistake::kAcknowledgesBeforeCompletion), std::nullopt);
  // The second write is durable and the first is not.
  EXPECT_NE(block_log_complaint(Mistake::kIgnoresOrder), std::nullopt);
}

}  // namespace
}  // namespace tidelog::sim
