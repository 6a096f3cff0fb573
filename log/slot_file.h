// A small file kept twice, as <path>.0 and <path>.1, so that a torn write never costs both copies.
//
//   0   u32 magic of the kind of file; u8 version 1; 3 zero
//   8   u64 generation, rises with each content
//   16  u64 length of the body
//   24  u64 XXH3-64 of the body
//   32  u64 XXH3-64 of bytes 0-31
//   40  the body
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/io/file_system.h"

namespace tidelog::log {

inline constexpr std::size_t kSlotHeaderBytes = 40;

struct SlotContent {
  std::uint64_t generation = 0;
  std::vector<std::byte> body;
};

std::vector<std::byte> encode_slot(std::uint32_t magic, const SlotContent& content);
std::optional<SlotContent> decode_slot(std::uint32_t magic, std::span<const std::byte> file);

// How both copies are kept.
enum class SlotPolicy : std::uint8_t {
  kBoth,       // each content goes to one copy, then to the other: rot in one costs nothing
  kAlternate,  // each content replaces the older copy: half the writes, for what may be a step
               // behind
};

// Blocking. Thread: one at a time.
class SlotFile {
 public:
  SlotFile(io::FileSystem& files, std::string path, std::uint32_t magic, SlotPolicy policy)
      : files_(files), path_(std::move(path)), magic_(magic), policy_(policy) {}

  struct Loaded {
    std::optional<SlotContent> content;  // the newest sound copy
    bool any_exists = false;
    std::vector<std::string> problems;  // one sentence for each copy that is there but unsound
  };
  // What it returns is stable, name and content, whether or not the process that wrote it came to
  // sync it: else the next store(), over the other copy, could leave none. Fails with
  // kStorageFailed.
  Result<Loaded> load();

  // Makes `body` the content; stable on return. REQUIRES: load() succeeded before.
  // Fails with kStorageFull, kStorageFailed.
  Result<> store(std::span<const std::byte> body);

  const std::string& path() const { return path_; }

 private:
  std::string slot_path(int slot) const;
  Result<> write_slot(int slot, std::span<const std::byte> file);

  io::FileSystem& files_;
  std::string path_;
  std::uint32_t magic_;
  SlotPolicy policy_;
  std::uint64_t generation_ = 0;
  int next_slot_ = 0;
  std::array<bool, 2> unreadable_{};
};

// The whole content of a file, at most `bytes_max`. Fails with kNotFound, kTooLarge,
// kStorageFailed.
Result<std::vector<std::byte>> read_whole_file(io::FileSystem& files, const std::string& path,
                                               std::uint64_t bytes_max);
// Creates or replaces a file in place and syncs it and, for a new name, its directory.
Result<> write_whole_file(io::FileSystem& files, const std::string& path,
                          std::span<const std::byte> content);

// "/a/b" of "/a/b/c".
std::string parent_of(const std::string& path);

}  // namespace tidelog::log
