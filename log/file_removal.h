// Removing large files so that the file system's own journal, and with it every sync of others,
// does not wait for it: unlinking 1 GiB at once takes 158 ms.
#pragma once

#include <string>

#include "base/result.h"
#include "log/io/file_system.h"

namespace tidelog::log {

// Cuts the file down in steps, then unlinks it; nothing happens when it is not there. The name is
// gone for good once the directory is synced. REQUIRES: nobody reads it; nothing of it is needed,
// since a crash may leave a part. Blocking. Fails with kStorageFull, kStorageFailed.
Result<> remove_in_steps(io::FileSystem& files, const std::string& path);

}  // namespace tidelog::log
