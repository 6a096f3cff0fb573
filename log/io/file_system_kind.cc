#include "log/io/file_system_kind.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/blocking_pool.h"
#include "log/io/storage_error.h"

namespace tidelog::log::io {
namespace {

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const std::size_t end = std::min(options.find(','), options.size());
    if (options.substr(0, end) == wanted) return true;
    options.remove_prefix(std::min(end + 1, options.size()));
  }
  return false;
}

bool is_one_of(std::string_view type, std::initializer_list<std::string_view> types) {
  return std::ranges::find(types, type) != types.end();
}

// Spaces and the like stand as \040 in mountinfo.
std::string unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool lies_below(const std::string& path, const std::string& mount_point) {
  if (mount_point == "/") return true;
  return path.starts_with(mount_point) &&
         (path.size() == mount_point.size() || path[mount_point.size()] == '/');
}

struct Mount {
  std::string device;  // "254:0"
  std::string source;  // "/dev/vda"
  std::string mount_point;
  std::string type;
  std::string options;
};

// A line: id parent major:minor root mount-point options [fields...] - type source super-options.
bool parse_mount(const std::string& line, Mount& mount) {
  std::istringstream words(line);
  std::string id;
  std::string parent;
  std::string root;
  std::string word;
  std::string super_options;
  if (!(words >> id >> parent >> mount.device >> root >> mount.mount_point >> mount.options)) {
    return false;
  }
  while (words >> word && word != "-") {
  }
  if (!(words >> mount.type >> mount.source >> super_options)) return false;
  mount.mount_point = unescape(mount.mount_point);
  mount.options += "," + super_options;
  return true;
}

// Whether ext4 on this device has a journal; true when nobody says otherwise.
bool ext4_has_journal(const Mount& mount) {
  std::array<char, PATH_MAX> link{};
  const std::string block = "/sys/dev/block/" + mount.device;
  // Containers hide that; a device that is not mapped has the same name in the mount's source.
  const bool is_known = ::realpath(block.c_str(), link.data()) != nullptr;
  const std::string_view path = is_known ? std::string_view(link.data()) : mount.source;
  const std::string name(path.substr(path.rfind('/') + 1));
  std::ifstream file("/sys/fs/ext4/" + name + "/journal_task");
  std::string task;
  return !(file >> task) || task != "<none>";
}

}  // namespace

FileSystemKind classify_file_system(std::string type, std::string mount_point,
                                    std::string_view options, bool has_journal) {
  FileSystemKind kind{.type = std::move(type), .mount_point = std::move(mount_point)};
  const auto set = [&](Stability stability, std::string reason) {
    kind.stability = stability;
    kind.reason = std::move(reason);
  };
  if (is_one_of(kind.type, {"nfs", "nfs4", "cifs", "smb3", "smbfs"})) {
    set(Stability::kNetwork, "a network file system, whose locks and syncs depend on a server");
  } else if (is_one_of(kind.type, {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})) {
    set(Stability::kNotStable, "memory: nothing survives a restart of the machine");
  } else if (kind.type == "fuse" || kind.type == "fuseblk" || kind.type.starts_with("fuse.")) {
    set(Stability::kNotStable, "FUSE: what a sync means is up to a program");
  } else if (is_one_of(kind.type, {"9p", "virtiofs"})) {
    set(Stability::kNotStable, "the host's files: what a sync means is up to the host");
  } else if (kind.type == "overlay" &&
             (has_option(options, "volatile") || has_option(options, "fsync=volatile"))) {
    set(Stability::kNotStable, "an overlay mounted volatile: it ignores syncs");
  } else if (has_option(options, "nobarrier") || has_option(options, "barrier=0")) {
    set(Stability::kNotStable, "mounted without barriers: a sync stops in the device's cache");
  } else if (kind.type == "ext2" || (kind.type == "ext4" && !has_journal)) {
    set(Stability::kWeaker, "without a journal: a power cut needs an fsck");
  } else if (is_one_of(kind.type, {"vfat", "msdos", "exfat"})) {
    set(Stability::kWeaker, "without a journal: a power cut may damage it");
  }
  return kind;
}

Result<FileSystemKind> file_system_kind(const std::string& directory) {
  check_may_block("stat");
  std::array<char, PATH_MAX> resolved{};
  struct stat status{};
  if (::realpath(directory.c_str(), resolved.data()) == nullptr ||
      ::stat(resolved.data(), &status) != 0) {
    return fail(storage_error(errno, "find", directory));
  }
  const std::string path(resolved.data());
  const std::string device = fmt::format("{}:{}", major(status.st_dev), minor(status.st_dev));
  std::ifstream table("/proc/self/mountinfo");
  Mount best;
  bool best_matches = false;
  for (std::string line; std::getline(table, line);) {
    Mount mount;
    if (!parse_mount(line, mount) || !lies_below(path, mount.mount_point)) continue;
    // A later mount covers an earlier one; subvolumes have devices of their own, so the device only
    // breaks ties.
    const bool matches = mount.device == device;
    if (mount.mount_point.size() < best.mount_point.size()) continue;
    if (mount.mount_point.size() == best.mount_point.size() && best_matches && !matches) continue;
    best = std::move(mount);
    best_matches = matches;
  }
  if (best.type.empty()) {
    return fail(ErrorCode::kStorageFailed,
                fmt::format("the file system of '{}' is not in /proc/self/mountinfo", directory));
  }
  return classify_file_system(best.type, best.mount_point, best.options,
                              best.type != "ext4" || ext4_has_journal(best));
}

std::string_view to_string(Stability stability) {
  switch (stability) {
    case Stability::kStable:
      return "stable";
    case Stability::kWeaker:
      return "weaker";
    case Stability::kNotStable:
      return "not_stable";
    case Stability::kNetwork:
      return "network";
  }
  return "not_stable";
}

}  // namespace tidelog::log::io
