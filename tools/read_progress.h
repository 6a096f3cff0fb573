// Progress of work that reads many files: how much was read so far.
#pragma once

#include <string>
#include <thread>

#include "tools/interrupt.h"
#include "tools/messages.h"

namespace tidelog::tools {

// On a terminal, shows "checked 1.5 GiB, 400.0 MiB/s" until it ends. What counts is what the
// process reads meanwhile, by whichever means. `messages` outlives it.
class ReadProgress {
 public:
  ReadProgress(Messages& messages, std::string verb);
  ~ReadProgress();
  ReadProgress(const ReadProgress&) = delete;
  ReadProgress& operator=(const ReadProgress&) = delete;

 private:
  void show();

  Messages& messages_;
  const std::string verb_;
  StopEvent finished_;
  std::thread thread_;
};

}  // namespace tidelog::tools
