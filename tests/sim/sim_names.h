// The names of a simulated disk: what programs see, what is stable, and the changes between the
// two.
//
// A create, rename or removal is stable when every directory that it touches was synced after it;
// until then a crash keeps or loses it as a whole, each independently of the others. Syncing a
// directory makes older changes of the same names and files stable too. A rename is one step:
// afterwards the file has one name, the old or the new one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/crash_policy.h"

namespace tidelog::sim {

using InodeId = std::uint64_t;
inline constexpr InodeId kRootInode = 1;

struct SimName {
  InodeId directory = 0;
  std::string name;
  auto operator<=>(const SimName&) const = default;
};

class SimNames {
 public:
  using Entries = std::map<SimName, InodeId>;

  std::optional<InodeId> find(const SimName& name) const;
  // All names of a directory, sorted.
  std::vector<std::pair<std::string, InodeId>> list(InodeId directory) const;

  void create(const SimName& name, InodeId inode);
  void remove(const SimName& name);
  // Replaces what `to` named.
  void rename(const SimName& from, const SimName& to);
  void sync(InodeId directory);
  // Makes a name that is stable at once (a test's hand, not the program's).
  void create_stable(const SimName& name, InodeId inode);

  std::size_t unsynced_changes() const { return changes_.size(); }
  // Every inode that a program or a crash may still find.
  std::set<InodeId> reachable() const;
  // As found after a crash: every name is stable.
  SimNames after_crash(CrashChooser& chooser) const;

 private:
  struct Change {
    InodeId inode = 0;
    std::optional<SimName> from;  // loses the name
    std::optional<SimName> to;    // gets the name
    bool from_synced = true;
    bool to_synced = true;

    bool synced() const { return from_synced && to_synced; }
    bool touches(const Change& other) const;
  };
  static void apply(const Change& change, Entries& entries);
  void add(Change change);

  Entries current_;
  Entries stable_;
  std::vector<Change> changes_;
};

}  // namespace tidelog::sim
