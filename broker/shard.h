// A shard: one thread with one event loop, one disk queue, one pool of buffers, the partitions
// placed on it and the connections it accepted. Nothing on it is locked; other shards reach it by
// the router.
//
// A turn of the loop: run what is ready, write to the sockets, then end_of_turn(): wake parked
// fetches, stage and submit the logs' writes once, post what other shards are to do.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "base/ids.h"
#include "broker/budgets.h"
#include "broker/calls.h"
#include "broker/connection.h"
#include "broker/connection_slots.h"
#include "broker/line_limiter.h"
#include "broker/parked_fetches.h"
#include "broker/quotas.h"
#include "broker/router.h"
#include "broker/topics.h"
#include "log/io/storage_probe.h"
#include "log/log_store.h"
#include "replication/controller.h"
#include "wire/frame.h"

namespace tidelog::wire {
class AsioExecutor;
class AsioNetwork;
class DetachedSocket;
}  // namespace tidelog::wire

namespace tidelog::broker {

class BrokerMetrics;
class LiveSettings;
struct ShardMetrics;

// Changes to the cluster, decided on the control thread. Thread: any; callbacks run on `home`.
class ControlPlane {
 public:
  virtual ~ControlPlane() = default;
  using CreateCallback =
      std::move_only_function<void(Result<std::shared_ptr<const replication::TopicView>>)>;
  virtual void create_topic(replication::NewTopic topic, Executor& home, CreateCallback done) = 0;
  using DoneCallback = std::move_only_function<void(Result<>)>;
  virtual void delete_topic(std::string name, Executor& home, DoneCallback done) = 0;
  virtual void alter_topic(std::string name, replication::Controller::SettingChanges changes,
                           Executor& home, DoneCallback done) = 0;
  virtual void add_partitions(std::string name, std::int32_t total, Executor& home,
                              DoneCallback done) = 0;
  using ProducerIdCallback = std::move_only_function<void(Result<ProducerId>)>;
  virtual void allocate_producer_id(Executor& home, ProducerIdCallback done) = 0;
};

// What all shards of a broker share. Outlives them.
struct BrokerContext {
  BrokerId id{0};
  std::string cluster_id;  // 32 hex digits
  std::string version;
  std::string advertised_host;  // empty: the address by which a client came
  std::uint16_t advertised_port = 0;
  std::atomic<std::int32_t> default_partitions{1};
  ConnectionLimits limits;
  std::size_t batch_bytes_max = wire::kBatchBytesMax;
  // Separate, so that a full one stops only those who fill it.
  MemoryBudget produce_budget;
  MemoryBudget fetch_budget;
  // Large requests of other kinds, what they need beside their frames, and positions of fetch
  // sessions. Those are held for as long as the sessions live, so they are counted here, too: at
  // most half of it, and the other half comes back to the requests that wait for it.
  MemoryBudget control_budget;
  MemoryBudget session_budget;
  ConnectionSlots connection_slots;
  Quotas quotas;
  BrokerMetrics* metrics = nullptr;
  ControlPlane* control = nullptr;
  LiveSettings* settings = nullptr;
  std::string admin_host;                    // of the admin pages, as they were asked for
  std::atomic<std::uint16_t> admin_port{0};  // 0: off, or not there yet
  std::int64_t started_ms = 0;               // wall time
  // What the data directory lies on, as found at the start; null before.
  const log::io::StorageProfile* storage = nullptr;
  // A write or sync of the data directory has failed: nothing is acknowledged any more
  // (log::LogStore::failure() tells why).
  std::atomic<bool> storage_failed{false};

  struct Memory {
    std::size_t produce_bytes;
    std::size_t fetch_bytes;
    std::size_t control_bytes;
  };
  BrokerContext(const Memory& memory, ConnectionSlots::Limits connections)
      : produce_budget(memory.produce_bytes),
        fetch_budget(memory.fetch_bytes),
        control_budget(memory.control_bytes),
        session_budget(memory.control_bytes / 2),
        connection_slots(connections) {}
};

class Shard {
 public:
  Shard(std::size_t index, BrokerContext& broker, BufferPool& buffers);
  // REQUIRES: the thread has ended.
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // --- Starting and stopping; by the broker's thread.
  wire::AsioExecutor& loop() { return *executor_; }
  void set_peers(std::vector<Router::Peer> peers);
  // From now on end_of_turn() serves these logs. Before start().
  void set_logs(log::ShardLogs* logs) { logs_ = logs; }
  // On the shard's thread, once it can serve. Fails with kConnectionFailed.
  Result<std::uint16_t> listen(const wire::ListenOptions& options);
  void start();
  // Ends the loop and joins the thread; what was posted and not run is dropped.
  void join();
  // Gives up connections, replicas and logs, so that the logs may go. REQUIRES: the thread has
  // ended.
  void let_go();

  // --- On the shard's thread.
  Executor& executor();
  BufferPool& buffers() { return buffers_; }
  Router& router() { return *router_; }
  Topics& topics() { return topics_; }
  ParkedFetches& parked_fetches() { return parked_fetches_; }
  log::ShardLogs& logs() { return *logs_; }
  BrokerContext& broker() { return broker_; }
  std::size_t index() const { return index_; }
  Calls& calls() { return calls_; }
  ShardMetrics& metrics() { return metrics_; }
  wire::FrameEncoder& frames() { return frames_; }
  // Empty; for one answer at a time.
  flatbuffers::FlatBufferBuilder& builder();

  void accept(std::unique_ptr<wire::Connection> stream);
  // Gives a connection, at its hello, to another shard. `rest` is what it received behind the
  // hello.
  void give_away(std::size_t shard, std::unique_ptr<wire::Connection> stream, ConnectionSlot slot,
                 Greeting greeting, std::vector<std::byte> rest);
  void connection_gone(std::uint64_t id);
  std::size_t connection_count() const { return connections_.size(); }

  // Fetch sessions are found by their number, because news may arrive when they are gone.
  std::uint64_t next_session_id();
  void add_session(FetchSession& session) { sessions_.emplace(session.id(), &session); }
  void remove_session(std::uint64_t id) { sessions_.erase(id); }
  FetchSession* find_session(std::uint64_t id);

  // For lines about connections that are closed.
  LineLimiter& closed_lines() { return closed_lines_; }

  // Tickets of requests whose answer comes from another thread wait here, so that they never leave
  // their shard.
  std::uint64_t keep(RequestTicket ticket);
  // The same; `late` is called with the ticket when nobody has taken it `within` that time.
  std::uint64_t keep(RequestTicket ticket, std::chrono::milliseconds within,
                     std::move_only_function<void(RequestTicket)> late);
  // An empty ticket when it was taken already.
  RequestTicket take_kept(std::uint64_t id);
  RequestTicket take_kept(const ClientConnection& connection, std::uint64_t correlation);

  // `connection` is told when `budget` has room again; those who wait are served in their order.
  void wait_for_budget(MemoryBudget& budget, std::shared_ptr<ClientConnection> connection);
  // Whether somebody on this shard waits for `budget`.
  bool is_waited_for(const MemoryBudget& budget) const;
  // Tries again what waits for `budget`.
  void budget_freed(MemoryBudget& budget);

  bool draining() const { return draining_; }
  // No new connections; open ones are told; parked fetches answer. `drained` runs when nothing is
  // in flight any more or `within` passed.
  void drain(std::chrono::milliseconds within, Task drained);
  // Closes every connection, sending what waits; `closed` runs when all are gone or `within`
  // passed.
  void close_connections(std::chrono::milliseconds within, Task closed);

 private:
  void adopt(wire::DetachedSocket socket, ConnectionSlot slot, const Greeting& greeting,
             std::span<const std::byte> rest);
  std::shared_ptr<ClientConnection> add_connection(std::unique_ptr<wire::Connection> stream,
                                                   ConnectionSlot slot);
  void refuse(wire::Connection& stream, const Error& reason);
  void end_of_turn();
  // Ends drain() or close_connections() when nothing is left to wait for; `late`: their time is up.
  void look_whether_drained(bool late);
  void wait_for_drain(std::chrono::milliseconds within);
  void publish_counters();

  const std::size_t index_;
  BrokerContext& broker_;
  BufferPool& buffers_;
  ShardMetrics& metrics_;
  std::unique_ptr<wire::AsioExecutor> executor_;
  std::unique_ptr<wire::AsioNetwork> network_;
  std::unique_ptr<flatbuffers::FlatBufferBuilder> builder_;
  wire::FrameEncoder frames_;
  std::unique_ptr<Router> router_;
  log::ShardLogs* logs_ = nullptr;
  Topics topics_;
  ParkedFetches parked_fetches_;
  Calls calls_;
  std::unordered_map<std::uint64_t, FetchSession*> sessions_;
  struct Kept {
    RequestTicket ticket;
    TimerId timer = 0;
  };
  std::unordered_map<std::uint64_t, Kept> kept_;
  std::map<const MemoryBudget*, std::deque<std::shared_ptr<ClientConnection>>> wait_for_budget_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ClientConnection>> connections_;
  std::unique_ptr<wire::Listener> listener_;
  LineLimiter closed_lines_{20, std::chrono::seconds(10)};
  std::uint64_t last_id_ = 0;
  bool draining_ = false;
  TimerId drain_timer_ = 0;
  Task drained_;
  Task closed_;
  std::thread thread_;
};

}  // namespace tidelog::broker
