// The connections of one client: two per broker, opened when wanted and opened anew, with backoff,
// when they break.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/addresses.h"
#include "client/backoff.h"
#include "client/connection.h"

namespace tidelog::client_core {

// Produce and control share one connection; fetches have another, so that megabytes of records
// never stand before an acknowledgement.
enum class Lane : std::uint8_t { kControl, kFetch };

struct PoolOptions {
  ConnectionOptions connection{};
  std::chrono::milliseconds backoff_min{50};
  std::chrono::milliseconds backoff_max{2000};
  std::vector<HostPort> seeds{};  // enough of them to find the others
  // Hears what goes wrong, a sentence each. May be null.
  std::function<void(const std::string&)> log{};
};

class BrokerPool {
 public:
  // `network`, `executor` and `buffers` must outlive this. `seed` decides jitter.
  BrokerPool(wire::Network& network, Executor& executor, BufferPool& buffers, PoolOptions options,
             std::uint64_t seed);
  ~BrokerPool();
  BrokerPool(const BrokerPool&) = delete;
  BrokerPool& operator=(const BrokerPool&) = delete;

  // Called when a connection opened or closed, an attempt failed, or a wait ended: look again.
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

  // An open connection to this broker, or null; then one is being opened, unless the broker is
  // unknown or a backoff runs. Valid until control returns to the executor.
  Connection* find(BrokerId broker, Lane lane);
  // The same for any broker.
  Connection* find_any();

  // Where brokers are, from metadata. Open connections stay.
  void set_brokers(const std::vector<BrokerAddress>& brokers);

  // Why the last attempt failed; nullopt since something was opened.
  const std::optional<Error>& last_failure() const { return last_failure_; }
  // How often every address known was tried in vain.
  std::uint64_t rounds_failed() const { return rounds_failed_; }

  void log(const std::string& sentence) const;

  // Closes all connections, failing what is open on them; opens no more.
  void shut_down(const Error& reason);

 private:
  struct Slot {
    explicit Slot(Backoff wait) : backoff(wait) {}
    std::unique_ptr<Connection> connection;
    bool open = false;
    SteadyTime opened_at{};
    Backoff backoff;
    TimerId retry_timer = 0;
  };
  using SlotKey = std::pair<BrokerId, Lane>;

  Slot& slot(SlotKey key);
  void start(SlotKey key, Slot& slot, const HostPort& address);
  void opened(SlotKey key, Result<> result);
  void closed(SlotKey key, const Error& reason);
  void drain(SlotKey key);
  void watch(SlotKey key, Connection& connection);
  void wait_before_retry(Slot& slot);
  std::unique_ptr<Connection> make_connection();
  void discard(std::unique_ptr<Connection> connection);

  void try_next_seed();
  void seed_opened(Result<> result);
  std::vector<HostPort> all_addresses() const;
  void changed() const {
    if (changed_) changed_();
  }

  wire::Network& network_;
  Executor& executor_;
  BufferPool& buffers_;
  const PoolOptions options_;
  SeededRandom random_;
  std::function<void()> changed_;
  std::map<BrokerId, HostPort> brokers_;
  std::map<SlotKey, Slot> slots_;
  std::vector<std::unique_ptr<Connection>> draining_;
  std::unique_ptr<Connection> seed_connection_;
  std::size_t next_seed_ = 0;
  std::size_t tried_in_round_ = 0;
  Backoff seed_backoff_;
  TimerId seed_timer_ = 0;
  std::optional<ClusterId> cluster_id_;
  std::optional<Error> last_failure_;
  std::uint64_t rounds_failed_ = 0;
  std::uint64_t next_serial_ = 1;
  bool shut_down_ = false;
};

}  // namespace tidelog::client_core
