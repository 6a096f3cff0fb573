// What the logs of one shard share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "log/data_directory.h"
#include "log/log_options.h"
#include "log/log_store.h"

namespace tidelog::log {

class ColdReader;
class Destager;
class Journal;
class OpenSegments;
class SegmentRemover;
class TailCache;

// What a shard that closes on a full disk answers to those who wait for space.
inline Error no_space_to_close() {
  return {ErrorCode::kStorageFull, "the disk is full and the broker is stopping"};
}

struct ShardContext {
  ShardEnvironment environment;
  io::FileSystem* files = nullptr;
  DataPaths paths;
  ShardLogOptions options;

  Journal* journal = nullptr;
  Destager* destager = nullptr;
  TailCache* tail_cache = nullptr;
  ColdReader* cold_reader = nullptr;
  OpenSegments* open_segments = nullptr;
  SegmentRemover* remover = nullptr;

  ShardLogs::Counters counters;
  std::uint64_t undurable_bytes = 0;  // appended, not yet durable, of all logs
  std::uint64_t free_bytes = 0;       // of the file system, when last asked
  bool space_low = false;             // appends are refused
  int short_of_space = 0;             // logs that found none; appends are refused until they did
  bool closing = false;
  // While closing something found no space, or no file descriptor: what is in the journal stays
  // there, and nobody waits for anything that would need either.
  bool gave_up = false;
  bool clean = true;             // a clean-stop marker would be true
  std::optional<Error> failure;  // the directory failed for good

  // Ends acknowledgements of the whole directory.
  std::function<void(const Error&)> fail;
  // Asks for the free space now: something found none.
  std::function<void()> check_space;
  // Writes a checkpoint that holds what is true now; runs the callback when it is stable.
  std::function<void(std::move_only_function<void()>)> checkpoint;

  // Asked by whoever found no space and would try again: true when it should leave it at that.
  bool gives_up() {
    gave_up = gave_up || closing;
    return gave_up;
  }

  // Runs `job` on a file thread and `then` with what it made, on the shard, unless the shard is
  // gone.
  template <typename T>
  void run_blocking(std::move_only_function<Result<T>()> job,
                    std::move_only_function<void(Result<T>)> then) {
    run_on<T>(*environment.blocking, std::move(job), std::move(then));
  }
  // The same where files are removed.
  template <typename T>
  void run_removal(std::move_only_function<Result<T>()> job,
                   std::move_only_function<void(Result<T>)> then) {
    run_on<T>(environment.removal != nullptr ? *environment.removal : *environment.blocking,
              std::move(job), std::move(then));
  }
  template <typename T>
  void run_on(BlockingExecutor& blocking, std::move_only_function<Result<T>()> job,
              std::move_only_function<void(Result<T>)> then) {
    struct Call {
      std::move_only_function<Result<T>()> job;
      std::move_only_function<void(Result<T>)> then;
      std::optional<Result<T>> result;
    };
    auto call = std::make_shared<Call>(std::move(job), std::move(then), std::nullopt);
    blocking.run([call] { call->result = call->job(); }, *environment.executor,
                 [call, alive = std::weak_ptr<bool>(alive)] {
                   if (!alive.expired()) call->then(std::move(*call->result));
                 });
  }
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

}  // namespace tidelog::log
