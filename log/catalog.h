// The replicas that exist in a data directory. A log is in the catalog, durably, before its first
// append and out of it before its files go; both copies of the file are written for each change.
//
// Body: u32 next incarnation; u32 count; then for each replica
//   0 16 bytes topic id; 16 i32 partition; 20 u32 incarnation; 24 u8 state (1 lives, 2 files being
//   removed); 3 zero
// then u32 count; then for each range of offsets whose loss a person accepted
//   0 16 bytes topic id; 16 i32 partition; 20 u32 zero; 24 i64 begin; 32 i64 end
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/partition_log.h"
#include "log/slot_file.h"

namespace tidelog::log {

inline constexpr std::uint32_t kCatalogMagic = 0x43444954;  // "TIDC"

enum class ReplicaState : std::uint8_t { kLives = 1, kRemoving = 2 };

struct CatalogEntry {
  // Which life of this partition in this directory; journal entries of another life do not count.
  std::uint32_t incarnation = 0;
  ReplicaState state = ReplicaState::kLives;
  // What a person accepted as lost (log repair): rising, apart. The log goes on behind each.
  std::vector<Hole> accepted = {};

  bool operator==(const CatalogEntry&) const = default;
};

struct CatalogContent {
  std::uint32_t next_incarnation = 1;
  std::map<TopicPartition, CatalogEntry> replicas;
};
std::vector<std::byte> encode_catalog(const CatalogContent& content);
std::optional<CatalogContent> decode_catalog(std::span<const std::byte> body);

// Thread: any; calls may block.
class Catalog {
 public:
  Catalog(io::FileSystem& files, const std::string& path)
      : file_(files, path, kCatalogMagic, SlotPolicy::kBoth) {}

  struct Loaded {
    bool any_exists = false;
    bool sound = false;
    std::vector<std::string> problems;
  };
  // Fails with kStorageFailed.
  Result<Loaded> load();

  // A copy; in the order of ids.
  std::map<TopicPartition, CatalogEntry> replicas() const;

  struct Change {
    TopicPartition id;
    std::optional<ReplicaState> state;  // nullopt: strike it out
  };
  // Applies all changes with one write; stable on return. A new replica, or one that was being
  // removed and lives again, gets a new incarnation; the answer holds the incarnation of each
  // change's replica. On failure nothing changed. Fails with kStorageFull, kStorageFailed.
  Result<std::vector<std::uint32_t>> apply(std::span<const Change> changes);

  struct Acceptance {
    TopicPartition id;
    std::vector<Hole> holes;
  };
  // Adds to what is accepted as lost, with one write; stable on return. REQUIRES: the replicas
  // live. Fails with kStorageFull, kStorageFailed.
  Result<> accept(std::span<const Acceptance> losses);
  // Replaces everything: for a catalog of which no copy is sound. Stable on return. Fails with
  // kStorageFull, kStorageFailed.
  Result<> replace(CatalogContent content);

 private:
  mutable std::mutex mutex_;
  SlotFile file_;
  CatalogContent content_;
};

}  // namespace tidelog::log
