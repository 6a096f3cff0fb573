// A client of one thread and one connection that keeps requests open or sends them when they are
// due. It asks the floors of bench/calibrate and the broker alike, so that they differ in the
// server only.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tidelog::bench {

// What is said on the connection. Requests are named 0 to outstanding - 1; a name is used again
// once its answer has come.
class RequestSource {
 public:
  virtual ~RequestSource() = default;
  // Appends the pieces of a request, which stay unchanged until its answer has come.
  virtual void append(std::size_t id, std::vector<iovec>& to) = 0;
  // Takes the whole answers at the front of `bytes`, appends their names, and returns how many
  // bytes they had. Ends the process where a request was refused.
  virtual std::size_t take_answers(std::span<const std::byte> bytes,
                                   std::vector<std::size_t>& ids) = 0;
};

struct RequestLoad {
  std::size_t outstanding = 1;  // at most; with a rate a request that is due waits for its turn
  double rate = 0;              // requests a second; 0: the next one with each answer
  double seconds = 1;
};

struct RequestResult {
  std::uint64_t requests = 0;
  double seconds = 0;  // to the last answer
  double client_cpu_s = 0;
  // From when each was due (without a rate: handed over) to its answer.
  std::vector<float> latencies_us{};

  double per_s() const { return static_cast<double>(requests) / seconds; }
};

// Ends the process with a message where the connection ends, or is silent for 30 s.
RequestResult run_requests(int socket, RequestSource& source, const RequestLoad& load);

}  // namespace tidelog::bench
