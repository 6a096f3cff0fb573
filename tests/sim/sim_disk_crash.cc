// The parts of SimDisk that a program never calls: crash images and the test's own hand.
#include <algorithm>

#include "base/check.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::sim {

std::size_t SimDisk::unsynced_changes() const {
  std::size_t count = names_.unsynced_changes();
  for (const auto& [id, inode] : inodes_) count += inode->unsynced_changes();
  return count;
}

std::vector<CrashPolicy> SimDisk::crash_policies(std::size_t random_policies,
                                                 std::uint64_t seed) const {
  constexpr std::size_t kSingleChangesMax = 32;
  std::vector<CrashPolicy> policies{CrashPolicy::nothing(), CrashPolicy::everything(),
                                    CrashPolicy::data_only(), CrashPolicy::names_only(),
                                    CrashPolicy::torn()};
  const std::size_t changes = unsynced_changes();
  if (changes == 0) return {CrashPolicy::nothing()};
  for (std::size_t change = 0; change < std::min(changes, kSingleChangesMax); ++change) {
    policies.push_back(CrashPolicy::only(change));
    if (changes > 2) policies.push_back(CrashPolicy::all_but(change));
  }
  SimRandom seeds(seed);
  for (std::size_t i = 0; i < random_policies; ++i) {
    policies.push_back(CrashPolicy::random(seeds.next()));
  }
  return policies;
}

std::unique_ptr<SimDisk> SimDisk::crash_image(const CrashPolicy& policy) const {
  CrashChooser chooser(policy);
  auto image = std::make_unique<SimDisk>(SimRandom(random_).next());
  image->space_bytes_ = space_bytes_;
  image->next_inode_ = next_inode_;
  std::map<InodeId, InodePtr> found;
  for (const auto& [id, inode] : inodes_) {
    found[id] =
        inode->is_directory() ? std::make_shared<SimInode>(id, true) : inode->after_crash(chooser);
  }
  image->names_ = names_.after_crash(chooser);
  for (const InodeId id : image->names_.reachable()) image->inodes_[id] = found.at(id);
  return image;
}

std::unique_ptr<SimDisk> SimDisk::kill_image(const CrashPolicy& policy) const {
  CrashChooser chooser(policy);
  auto image = std::make_unique<SimDisk>(SimRandom(random_).next());
  image->space_bytes_ = space_bytes_;
  image->next_inode_ = next_inode_;
  image->names_ = names_;
  const std::set<InodeId> reachable = names_.reachable();
  for (const auto& [id, inode] : inodes_) {
    if (reachable.contains(id)) image->inodes_[id] = inode->after_kill(chooser);
  }
  return image;
}

SimDisk::InodePtr SimDisk::must_find(const std::string& path) const {
  InodePtr inode = find(path);
  TIDELOG_CHECK(inode != nullptr && !inode->is_directory(), "there is no such file: " + path);
  return inode;
}

std::vector<std::string> SimDisk::files() const {
  std::vector<std::string> paths;
  std::vector<std::pair<std::string, InodeId>> directories{{"", kRootInode}};
  while (!directories.empty()) {
    const auto [prefix, directory] = directories.back();
    directories.pop_back();
    for (const auto& [name, id] : names_.list(directory)) {
      if (inodes_.at(id)->is_directory()) {
        directories.emplace_back(prefix + name + "/", id);
      } else {
        paths.push_back(prefix + name);
      }
    }
  }
  std::ranges::sort(paths);
  return paths;
}

std::vector<std::byte> SimDisk::contents(const std::string& path) const {
  const InodePtr inode = must_find(path);
  std::vector<std::byte> bytes(inode->size());
  inode->read(0, bytes);
  return bytes;
}

void SimDisk::overwrite(const std::string& path, std::uint64_t position,
                        std::span<const std::byte> bytes) {
  must_find(path)->write(position, bytes, true);
}

void SimDisk::flip_bit(const std::string& path, std::uint64_t bit) {
  const InodePtr inode = must_find(path);
  TIDELOG_CHECK(bit / 8 < inode->size(), "the bit lies behind the end of the file");
  std::byte byte;
  inode->read(bit / 8, {&byte, 1});
  byte ^= static_cast<std::byte>(1U << (bit % 8));
  inode->write(bit / 8, {&byte, 1}, true);
}

void SimDisk::spoil(const std::string& path, std::uint64_t position) {
  must_find(path)->spoil(position);
}

void SimDisk::cut(const std::string& path, std::uint64_t size) {
  must_find(path)->truncate(size, true);
}

void SimDisk::put(const std::string& path, std::span<const std::byte> bytes) {
  InodeId directory = kRootInode;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = path.find('/', at);
    const SimName name{directory, path.substr(at, end - at)};
    at = end == std::string::npos ? path.size() : end + 1;
    if (name.name.empty()) continue;
    std::optional<InodeId> next = names_.find(name);
    if (!next) {
      next = make_inode(end != std::string::npos)->id();
      names_.create_stable(name, *next);
    }
    directory = *next;
  }
  const InodePtr inode = must_find(path);
  inode->truncate(0, true);
  inode->write(0, bytes, true);
}

void SimDisk::erase(const std::string& path) {
  must_find(path);
  const SimName name = *locate(path);
  names_.remove(name);
  names_.sync(name.directory);
}

}  // namespace tidelog::sim
