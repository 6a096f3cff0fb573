// Proves a whole data directory: every checksum, and that nothing is missing that some evidence
// (checkpoint, clean-stop marker, journal, write headers) calls durable.
//
// A broker may be running on it. Evidence is then read before the segments that it speaks of, so
// that what the broker writes meanwhile never looks like a loss.
#pragma once

#include "base/result.h"
#include "log/data_directory.h"
#include "log/inspect.h"
#include "log/io/file_system.h"

namespace tidelog::log {

// Batches and records are counted in segments and, behind them, in the journal. Blocking; changes
// nothing. Fails with kStorageFailed.
Result<VerifyReport> verify_directory(io::FileSystem& files, const DataPaths& paths);

}  // namespace tidelog::log
