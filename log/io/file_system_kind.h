// Which file system a directory lies on, and what that means for promises about durability.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tidelog::log::io {

enum class Stability : std::uint8_t {
  kStable,     // a sync reaches stable storage, as far as can be known
  kWeaker,     // it does, but a power cut may need a repair (fsck) first
  kNotStable,  // a sync promises nothing
  kNetwork,    // NFS, SMB: locks and syncs depend on a server and its settings
};

// "stable", "weaker", "not_stable", "network": as metrics and `cluster status` name it.
std::string_view to_string(Stability stability);

struct FileSystemKind {
  std::string type;  // "ext4", "tmpfs", "fuse.sshfs", as in /proc/self/mountinfo
  std::string mount_point;
  Stability stability = Stability::kStable;
  std::string reason = {};  // a clause for a person; empty when stable
};

// Blocks. Fails with kNotFound, kStorageFailed.
Result<FileSystemKind> file_system_kind(const std::string& directory);

// The rules alone. `options` are the mount and superblock options, comma-separated; `has_journal`
// matters for ext4 only.
FileSystemKind classify_file_system(std::string type, std::string mount_point,
                                    std::string_view options, bool has_journal);

}  // namespace tidelog::log::io
