#include "tests/sim/sim_names.h"

#include "base/check.h"

namespace tidelog::sim {

std::optional<InodeId> SimNames::find(const SimName& name) const {
  const auto found = current_.find(name);
  if (found == current_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<std::string, InodeId>> SimNames::list(InodeId directory) const {
  std::vector<std::pair<std::string, InodeId>> names;
  for (auto at = current_.lower_bound({directory, ""});
       at != current_.end() && at->first.directory == directory; ++at) {
    names.emplace_back(at->first.name, at->second);
  }
  return names;
}

bool SimNames::Change::touches(const Change& other) const {
  if (inode == other.inode) return true;
  for (const auto& mine : {from, to}) {
    if (!mine) continue;
    if (mine == other.from || mine == other.to) return true;
  }
  return false;
}

void SimNames::apply(const Change& change, Entries& entries) {
  // An inode has one name: whichever it had, it loses it.
  std::erase_if(entries, [&](const auto& entry) { return entry.second == change.inode; });
  if (change.to) entries[*change.to] = change.inode;
}

void SimNames::add(Change change) {
  change.from_synced = !change.from;
  change.to_synced = !change.to;
  apply(change, current_);
  changes_.push_back(std::move(change));
}

void SimNames::create(const SimName& name, InodeId inode) {
  add({.inode = inode, .from = std::nullopt, .to = name});
}

void SimNames::remove(const SimName& name) {
  add({.inode = current_.at(name), .from = name, .to = std::nullopt});
}

void SimNames::rename(const SimName& from, const SimName& to) {
  add({.inode = current_.at(from), .from = from, .to = to});
}

void SimNames::create_stable(const SimName& name, InodeId inode) {
  const Change change{.inode = inode, .from = std::nullopt, .to = name};
  apply(change, current_);
  apply(change, stable_);
}

void SimNames::sync(InodeId directory) {
  for (Change& change : changes_) {
    if (change.from && change.from->directory == directory) change.from_synced = true;
    if (change.to && change.to->directory == directory) change.to_synced = true;
  }
  std::vector<bool> goes(changes_.size());
  for (std::size_t i = changes_.size(); i-- > 0;) {
    goes[i] = changes_[i].synced();
    for (std::size_t newer = i + 1; newer < changes_.size() && !goes[i]; ++newer) {
      goes[i] = goes[newer] && changes_[i].touches(changes_[newer]);
    }
  }
  std::vector<Change> left;
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    if (goes[i]) {
      apply(changes_[i], stable_);
    } else {
      left.push_back(std::move(changes_[i]));
    }
  }
  changes_ = std::move(left);
  // What changed in a directory that no crash can bring back matters to nobody.
  const std::set<InodeId> inodes = reachable();
  std::erase_if(changes_, [&](const Change& change) {
    return (!change.from || !inodes.contains(change.from->directory)) &&
           (!change.to || !inodes.contains(change.to->directory));
  });
}

std::set<InodeId> SimNames::reachable() const {
  std::set<InodeId> inodes{kRootInode};
  for (const auto& [name, inode] : current_) inodes.insert(inode);
  for (const auto& [name, inode] : stable_) inodes.insert(inode);
  for (const Change& change : changes_) inodes.insert(change.inode);
  return inodes;
}

SimNames SimNames::after_crash(CrashChooser& chooser) const {
  Entries found = stable_;
  for (const Change& change : changes_) {
    if (chooser.next_name()) apply(change, found);
  }
  // What lies in a directory that is not there is not there.
  SimNames names;
  std::set<InodeId> directories{kRootInode};
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& [name, inode] : found) {
      if (directories.contains(name.directory) && directories.insert(inode).second) grew = true;
    }
  }
  std::erase_if(found,
                [&](const auto& entry) { return !directories.contains(entry.first.directory); });
  names.current_ = found;
  names.stable_ = std::move(found);
  return names;
}

}  // namespace tidelog::sim
