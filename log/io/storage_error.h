// What the kernel's error numbers mean to the log.
#pragma once

#include <string_view>

#include "base/error.h"

namespace tidelog::log::io {

// "write '/data/journal/0-1': No space left on device". ENOSPC, EDQUOT and EFBIG (a limit on file
// sizes) are kStorageFull, ENOENT is kNotFound, EEXIST is kAlreadyExists, EMFILE and ENFILE (no
// descriptor left) are kOverloaded, everything else kStorageFailed.
Error storage_error(int error_number, std::string_view operation, std::string_view path);
// Of a failed sync: kStorageFailed whatever the number. The kernel tells the errors of all writes
// to a file once, to whoever asks first, so nobody knows what is missing.
Error sync_error(int error_number, std::string_view operation, std::string_view path);

// Whether a failed change of a data directory means that it takes no more: anything but a lack of
// space or of descriptors, after which the same change is made again.
bool is_final(const Error& error);

}  // namespace tidelog::log::io
