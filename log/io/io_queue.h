// The seam for storage, asynchronous half: reads, writes and syncs whose completions arrive on the
// shard.
//
// Operations are gathered and handed to the kernel by submit(), once a loop turn. Completions run
// in the order they are found, on the shard's executor, never inside a call of this interface. The
// ring knows no partition and no log: it completes callbacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"

namespace tidelog::log::io {

enum class Durability : std::uint8_t {
  kPlain,    // stable after a sync() that was started after this write completed
  kDurable,  // stable when the completion runs (RWF_DSYNC, or write + fdatasync where that is not
             // to be had)
};

// What a queue has done since it was made.
struct IoCounters {
  std::uint64_t writes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t reads = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t syncs = 0;
  std::uint64_t submits = 0;
};

// Thread: one (its shard's).
class IoQueue {
 public:
  virtual ~IoQueue() = default;

  using WriteCallback = std::move_only_function<void(Result<>)>;
  using ReadCallback = std::move_only_function<void(Result<std::size_t>)>;

  // Writes the pieces one behind the other from `position`. Short writes are continued inside.
  // Pieces and file must live until `done`. REQUIRES: position, addresses and the total length are
  // multiples of kBlockBytes, piece lengths multiples of 512; no write in flight overlaps. Fails
  // with kStorageFull, kStorageFailed.
  virtual void write(File& file, FilePosition position,
                     std::span<const std::span<const std::byte>> pieces, Durability durability,
                     WriteCallback done) = 0;

  // Reads up to into.size() bytes; fewer only at the end of the file. REQUIRES: block-aligned
  // position, address, length.
  virtual void read(File& file, FilePosition position, std::span<std::byte> into,
                    ReadCallback done) = 0;

  // fdatasync: covers every write to `file` that completed before this call.
  virtual void sync(File& file, WriteCallback done) = 0;

  // Hands everything gathered to the kernel. Called by the shard at the end of each loop turn.
  virtual void submit() = 0;

  // Keeps the directory locked as long as this queue lives and, where the process is killed, until
  // the kernel is done with what it was handed: else a late write of a dead process could land on
  // one of the next. Thread: any; call once, before the first operation. Fails with
  // kUnsupportedFeature.
  virtual Result<> hold(std::shared_ptr<DirectoryLock> lock) = 0;

  // Operations started and not yet completed.
  virtual std::size_t in_flight() const = 0;
  virtual const IoCounters& counters() const = 0;
  // For one log line and `cluster status`: "io_uring, O_DIRECT + RWF_DSYNC" and the like.
  virtual std::string_view description() const = 0;
};

}  // namespace tidelog::log::io
