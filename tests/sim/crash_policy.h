// What survives when the power goes: a choice for every change that was not yet stable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/sim/sim_random.h"

namespace tidelog::sim {

class CrashPolicy {
 public:
  // No change that was not stable survives.
  static CrashPolicy nothing() { return {Kind::kNothing, 0}; }
  // All of them do: as kill -9, which keeps the page cache.
  static CrashPolicy everything() { return {Kind::kEverything, 0}; }
  // Contents and sizes, but no create, rename or removal.
  static CrashPolicy data_only() { return {Kind::kDataOnly, 0}; }
  // Creates, renames and removals, but no content.
  static CrashPolicy names_only() { return {Kind::kNamesOnly, 0}; }
  // Names and sizes, but each 4,096-byte block of what was written is damaged: neither what it held
  // nor what it was to hold.
  static CrashPolicy torn() { return {Kind::kTorn, 0}; }
  // One change alone, from 0 to SimDisk::unsynced_changes() - 1: the second write without the
  // first.
  static CrashPolicy only(std::size_t change) { return {Kind::kOnly, change}; }
  static CrashPolicy all_but(std::size_t change) { return {Kind::kAllBut, change}; }
  // Each change: lost, whole, torn at 512-byte sectors with or without damage to the 4,096-byte
  // blocks that were torn; sizes apart from contents.
  static CrashPolicy random(std::uint64_t seed) { return {Kind::kRandom, seed}; }

  // "only change 3", for failure messages.
  std::string to_string() const;

 private:
  friend class CrashChooser;
  enum class Kind : std::uint8_t {
    kNothing,
    kEverything,
    kDataOnly,
    kNamesOnly,
    kTorn,
    kOnly,
    kAllBut,
    kRandom
  };
  CrashPolicy(Kind kind, std::uint64_t value) : kind_(kind), value_(value) {}
  Kind kind_;
  std::uint64_t value_;
};

// Makes the choices of one crash, change after change in a fixed order.
class CrashChooser {
 public:
  explicit CrashChooser(const CrashPolicy& policy) : policy_(policy), random_(policy.value_) {}

  enum class Part : std::uint8_t { kNone, kAll, kSome, kTorn };
  struct Data {
    Part bytes;
    bool size;  // the growth of the file that came with it
  };
  Data next_data();
  bool next_name();

  // For the sectors of a write of which some survive.
  SimRandom& random() { return random_; }

 private:
  bool chosen(bool is_name);

  CrashPolicy policy_;
  SimRandom random_;
  std::uint64_t next_ = 0;
};

}  // namespace tidelog::sim
