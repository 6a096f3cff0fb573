// The connections of one client, opened when wanted and opened anew, with backoff, when they break:
// per broker and lane one for each shard that the client has work for, so that no request takes the
// hop from one shard to another.
//
// Any connection reaches every partition of its broker. So where a shard's own cannot be opened and
// another one is open, as where the broker limits connections, they share that one: a hop slower,
// and the own one is tried again later.
//
// A broker whose advertised address leads nowhere, while the address that this client was started
// with has just led to it, is reached by the latter from then on. Each connection makes sure that
// it is that broker, so an address that leads to several is no danger.
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

  // More shards of a broker than this share connections.
  static constexpr std::int32_t kShardsMax = 16;
  // The shard whose connection this one's partitions use: itself, or the one it shares with.
  static BrokerShard connected_by(BrokerShard shard);

  // The open connection for this shard, or null; then it is being opened, unless the broker is
  // unknown or a backoff runs. With kAnyShard whichever there is. The broker may serve it by
  // another shard than it is for. Valid until control returns to the executor.
  Connection* find(BrokerShard shard, Lane lane);
  // The same, but opens nothing.
  Connection* find_open(BrokerShard shard, Lane lane);
  // The same for any broker.
  Connection* find_any();
  // The one with this serial number, while it is open and its broker is not about to stop.
  Connection* find_by_serial(std::uint64_t serial);

  // Where brokers are, from metadata. Open connections stay.
  void set_brokers(const std::vector<BrokerAddress>& brokers);

  // Why the last attempt failed; nullopt since something was opened.
  const std::optional<Error>& last_failure() const { return last_failure_; }
  // Where the addresses of this client's cluster answer for another one: says so, once each time
  // that is found.
  std::optional<Error> take_wrong_cluster() { return std::exchange(wrong_cluster_, std::nullopt); }
  // How often every address known was tried in vain.
  std::uint64_t rounds_failed() const { return rounds_failed_; }
  // How often a broker came back with another number of shards: its partitions are served by other
  // ones than metadata said.
  std::uint64_t reshardings() const { return reshardings_; }

  void log(const std::string& sentence) const;

  // Closes all connections, failing what is open on them; opens no more.
  void shut_down(const Error& reason);

 private:
  struct Slot {
    explicit Slot(Backoff wait) : backoff(wait) {}
    std::unique_ptr<Connection> connection;
    HostPort address;  // of `connection`
    bool open = false;
    SteadyTime opened_at{};
    Backoff backoff;
    TimerId retry_timer = 0;
    bool shares = false;  // its last attempt failed where another connection to the broker was open
  };
  struct SlotKey {
    BrokerId broker;
    Lane lane;
    std::int32_t shard;

    auto operator<=>(const SlotKey&) const = default;
  };

  Slot& slot(SlotKey key);
  void start(SlotKey key, Slot& slot);
  // Where the broker answers, if the address that metadata tells has led nowhere and another one
  // serves a connection to it now.
  std::optional<HostPort> other_way(BrokerId broker) const;
  // By which of the two it is to be reached.
  const HostPort& way_to(BrokerId broker) const;
  // Some open connection to the broker in this lane; null when there is none.
  Connection* open_one(BrokerId broker, Lane lane) const;
  bool opens_one(BrokerId broker, Lane lane) const;
  void opened(SlotKey key, Result<> result);
  void closed(SlotKey key, const Error& reason);
  void drain(SlotKey key);
  // In words that this broker cannot be reached by the address that metadata tells, but by `other`:
  // somebody has to set the advertised one right.
  std::string explained(BrokerId broker, const HostPort& other, const Error& failure) const;
  // Goes on by the other way, if there is one that is not gone already.
  bool go_around(SlotKey key, Slot& slot, const Error& failure);
  void watch(SlotKey key, Connection& connection);
  void note_shards(const HelloAnswer& hello);
  void wait_before_retry(Slot& slot);
  // Who shares a connection to this broker tries to get an own one when next wanted.
  void end_sharing(SlotKey key);
  std::unique_ptr<Connection> make_connection(std::int32_t wanted_shard);
  void discard(std::unique_ptr<Connection> connection);

  void try_next_seed();
  void seed_opened(const HostPort& address, Result<> result);
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
  // Other addresses, of brokers that cannot be reached by the one in brokers_.
  std::map<BrokerId, HostPort> detours_;
  std::map<SlotKey, Slot> slots_;
  std::map<BrokerId, std::int32_t> shard_counts_;  // as the last hello said
  std::vector<std::unique_ptr<Connection>> draining_;
  std::unique_ptr<Connection> seed_connection_;
  std::size_t next_seed_ = 0;
  std::size_t tried_in_round_ = 0;
  Backoff seed_backoff_;
  TimerId seed_timer_ = 0;
  std::optional<ClusterId> cluster_id_;
  std::optional<Error> last_failure_;
  std::optional<Error> wrong_cluster_;
  bool only_wrong_cluster_ = true;  // no address of this round failed otherwise
  std::uint64_t rounds_failed_ = 0;
  std::uint64_t reshardings_ = 0;
  std::uint64_t next_serial_ = 1;
  bool shut_down_ = false;
};

}  // namespace tidelog::client_core
