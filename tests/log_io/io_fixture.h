// A directory of its own for a test, and the worlds in which the conformance suite runs: the
// machine under each queue, and the simulated disk.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "log/io/file_system.h"
#include "log/io/io_queue.h"

namespace tidelog::log::io {

// Below $TMPDIR or /tmp; removed with everything in it.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent = default_parent());
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  static std::string default_parent();

 private:
  std::string path_;
};

enum class World : std::uint8_t {
  kRingDirect,     // io_uring, O_DIRECT + RWF_DSYNC
  kRingFdatasync,  // io_uring, O_DIRECT + fdatasync
  kRingBuffered,   // io_uring, buffered + fdatasync
  kThreadsDirect,
  kThreadsBuffered,
  kSimulated,
};
std::string to_string(World world);

class IoWorld {
 public:
  virtual ~IoWorld() = default;

  // Null with a reason when this machine has no such world.
  static std::unique_ptr<IoWorld> make(World world, std::string& why_not);

  virtual FileSystem& files() = 0;
  virtual Executor& executor() = 0;
  // Made at first use.
  virtual IoQueue& queue() = 0;
  // Ends the queue, whatever is under way.
  virtual void end_queue() = 0;
  // A path for a file of this name.
  virtual std::string path(const std::string& name) = 0;
  // Submits and runs until `condition` holds; a test failure after ten seconds.
  virtual void run_until(const std::function<bool()>& condition) = 0;
  // Runs what is ready, and what becomes so within `time`.
  virtual void run_for(std::chrono::milliseconds time) = 0;
};

// `blocks` blocks, each filled with `fill` plus its number.
Buffer pattern(std::size_t blocks, char fill = 'a');

}  // namespace tidelog::log::io
