// Parts what a log kept from what was cut of it, where one write holds both and the journal's copy
// of the former is gone.
#pragma once

#include "base/result.h"
#include "log/data_directory.h"
#include "log/io/file_system.h"
#include "log/partition_log_impl.h"

namespace tidelog::log {

// Leaves no record at or above the log's end in its files, nor one that two segments hold: the
// batches of such a write that stay get a segment of their own, then the write is cut off. Crashes
// at every step leave what can be done again. Blocking. Fails with kCorruptData, kStorageFailed,
// kStorageFull.
Result<> separate_overlaps(io::FileSystem& files, const DataPaths& paths, const RecoveredLog& log);

}  // namespace tidelog::log
