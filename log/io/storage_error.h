// What the kernel's error numbers mean to the log.
#pragma once

#include <string_view>

#include "base/error.h"

namespace tidelog::log::io {

// "write '/data/journal/0-1': No space left on device". ENOSPC, EDQUOT and EFBIG (a limit on file
// sizes) are kStorageFull, ENOENT is kNotFound, EEXIST is kAlreadyExists, everything else
// kStorageFailed.
Error storage_error(int error_number, std::string_view operation, std::string_view path);

}  // namespace tidelog::log::io
