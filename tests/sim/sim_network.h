// A network in memory: ordered byte streams on a SimExecutor, with delays, cuts and silences
// decided by a seed or by the test.
//
// Bytes arrive in pieces of any size, in order, some virtual microseconds after they were sent. A
// cut loses what is under way, and both ends hear of it; a silent port loses everything and nobody
// hears.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_random.h"
#include "wire/transport/transport.h"

namespace tidelog::sim {

class SimNetwork final : public wire::Network {
 public:
  SimNetwork(SimExecutor& executor, std::uint64_t seed);
  ~SimNetwork() override;

  void connect(std::string host, std::uint16_t port, std::chrono::milliseconds timeout,
               ConnectCallback done) override;
  Result<std::unique_ptr<wire::Listener>> listen(const wire::ListenOptions& options,
                                                 AcceptCallback accepted) override;

  // Every piece takes between these to arrive.
  void set_delay(std::chrono::microseconds min, std::chrono::microseconds max);
  // One send in `sends` (over all connections) cuts its connection, after any part of its bytes
  // was delivered. 0: none.
  void cut_one_in(std::uint64_t sends) { cut_one_in_ = sends; }
  // Cuts all connections to this port.
  void cut(std::uint16_t port);
  // What is sent to or from this port is lost from now on, without a word; connecting times out.
  void silence(std::uint16_t port, bool silent);
  // What connections to this port are given to send is taken by nobody from now on: it stays with
  // them, as where the other side reads no more and the kernel's buffers are full.
  void stall_sends(std::uint16_t port) { stalled_.insert(port); }
  // The accepting side of connections to this port sends no more; the other side can.
  void half_close(std::uint16_t port);

  std::uint64_t connects() const { return connects_; }
  std::size_t open_connections(std::uint16_t port) const;

 private:
  friend class SimConnection;
  friend class SimListener;
  struct Link;

  std::chrono::microseconds delay();
  void forget(const std::shared_ptr<Link>& link);

  SimExecutor& executor_;
  SimRandom random_;
  std::map<std::uint16_t, std::shared_ptr<AcceptCallback>> listeners_;
  std::vector<std::shared_ptr<Link>> links_;
  std::set<std::uint16_t> silent_;
  std::set<std::uint16_t> stalled_;
  std::uint16_t next_port_ = 10'000;
  std::chrono::microseconds delay_min_{20};
  std::chrono::microseconds delay_max_{200};
  std::uint64_t cut_one_in_ = 0;
  std::uint64_t connects_ = 0;
};

}  // namespace tidelog::sim
