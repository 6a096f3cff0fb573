// Two ends of one TCP connection over 127.0.0.1.
#pragma once

namespace tidelog::bench {

// Both blocking, with TCP_NODELAY. Ends the process with a message where there is no loopback.
class LoopbackPair {
 public:
  LoopbackPair();
  ~LoopbackPair();
  LoopbackPair(const LoopbackPair&) = delete;
  LoopbackPair& operator=(const LoopbackPair&) = delete;
  int near_end() const { return near_; }
  int far_end() const { return far_; }

 private:
  int near_ = -1;
  int far_ = -1;
};

}  // namespace tidelog::bench
