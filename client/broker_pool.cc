#include "client/broker_pool.h"

#include <fmt/format.h>

#include <algorithm>

namespace tidelog::client_core {
namespace {

// A connection that lived this long was sound: the next attempt starts from the shortest wait.
constexpr std::chrono::seconds kSoundLife{5};
// How long a shard shares a connection before it tries again to get its own: who limits
// connections is not asked every few seconds.
constexpr std::chrono::microseconds kSharingTime = std::chrono::seconds(30);

}  // namespace

BrokerPool::BrokerPool(wire::Network& network, Executor& executor, BufferPool& buffers,
                       PoolOptions options, std::uint64_t seed)
    : network_(network),
      executor_(executor),
      buffers_(buffers),
      options_(std::move(options)),
      random_(seed),
      seed_backoff_(options_.backoff_min, options_.backoff_max, random_.next()) {}

BrokerPool::~BrokerPool() {
  executor_.cancel(seed_timer_);
  for (auto& [key, slot] : slots_) executor_.cancel(slot.retry_timer);
}

void BrokerPool::log(const std::string& sentence) const {
  if (options_.log) options_.log(sentence);
}

std::unique_ptr<Connection> BrokerPool::make_connection(std::int32_t wanted_shard) {
  ConnectionOptions options = options_.connection;
  options.wanted_shard = wanted_shard;
  options.cluster_id = cluster_id_;
  options.serial = next_serial_++;
  return std::make_unique<Connection>(network_, executor_, buffers_, std::move(options));
}

void BrokerPool::discard(std::unique_ptr<Connection> connection) {
  // It may be one of its own callbacks that got us here.
  executor_.post([connection = std::move(connection)] {});
}

BrokerPool::Slot& BrokerPool::slot(SlotKey key) {
  const auto at = slots_.find(key);
  if (at != slots_.end()) return at->second;
  return slots_
      .emplace(key, Slot(Backoff(options_.backoff_min, options_.backoff_max, random_.next())))
      .first->second;
}

BrokerShard BrokerPool::connected_by(BrokerShard shard) {
  if (shard.shard >= 0) shard.shard %= kShardsMax;
  return shard;
}

Connection* BrokerPool::find(BrokerShard shard, Lane lane) {
  if (shut_down_) return nullptr;
  const SlotKey key{shard.broker, lane, connected_by(shard).shard};
  const bool served = shard.shard == kAnyShard && opens_one(shard.broker, lane);
  if (!served && brokers_.contains(key.broker)) {
    Slot& found = slot(key);
    if (!found.connection && found.retry_timer == 0) start(key, found);
  }
  return find_open(shard, lane);
}

Connection* BrokerPool::find_open(BrokerShard shard, Lane lane) {
  if (shut_down_) return nullptr;
  const auto at = slots_.find({shard.broker, lane, connected_by(shard).shard});
  if (at != slots_.end() && at->second.open) return at->second.connection.get();
  const bool any = shard.shard == kAnyShard || (at != slots_.end() && at->second.shares);
  return any ? open_one(shard.broker, lane) : nullptr;
}

Connection* BrokerPool::open_one(BrokerId broker, Lane lane) const {
  for (auto at = slots_.lower_bound({broker, lane, kAnyShard}); at != slots_.end(); ++at) {
    if (at->first.broker != broker || at->first.lane != lane) break;
    if (at->second.open) return at->second.connection.get();
  }
  return nullptr;
}

bool BrokerPool::opens_one(BrokerId broker, Lane lane) const {
  return std::ranges::any_of(slots_, [&](const auto& at) {
    return at.first.broker == broker && at.first.lane == lane && at.second.connection;
  });
}

const HostPort& BrokerPool::way_to(BrokerId broker) const {
  const auto detour = detours_.find(broker);
  return detour != detours_.end() ? detour->second : brokers_.at(broker);
}

void BrokerPool::start(SlotKey key, Slot& slot) {
  slot.address = way_to(key.broker);
  slot.connection = make_connection(key.shard);
  slot.open = false;
  slot.connection->open(slot.address.host, slot.address.port,
                        [this, key](Result<> result) { opened(key, std::move(result)); });
}

void BrokerPool::opened(SlotKey key, Result<> result) {
  Slot& slot = slots_.at(key);
  if (result && slot.connection->hello().broker_id != key.broker) {
    result = fail(ErrorCode::kConnectionFailed,
                  fmt::format("at the address of broker {} answers broker {}", key.broker.value(),
                              slot.connection->hello().broker_id.value()));
  }
  if (result) {
    slot.shares = false;
    watch(key, *slot.connection);
    return changed();
  }
  discard(std::move(slot.connection));
  if (go_around(key, slot, result.error())) return;
  slot.shares = open_one(key.broker, key.lane) != nullptr;
  wait_before_retry(slot);
  if (!slot.shares) last_failure_ = result.error();
  const bool none_open =
      std::ranges::none_of(slots_, [](const auto& at) { return at.second.open; });
  if (none_open && result.error().code() == ErrorCode::kWrongCluster) {
    wrong_cluster_ = result.error();
  }
  const std::string& cause = result.error().message();
  if (!shut_down_) {
    log(slot.shares ? fmt::format("no connection of its own for shard {} of broker {}: {}; it "
                                  "shares another's",
                                  key.shard, key.broker.value(), cause)
                    : fmt::format("cannot reach broker {}: {}", key.broker.value(), cause));
  }
  changed();
}

std::optional<HostPort> BrokerPool::other_way(BrokerId broker) const {
  const auto told = brokers_.find(broker);
  std::optional<HostPort> other;
  for (const auto& [key, slot] : slots_) {
    if (key.broker != broker || !slot.open || told == brokers_.end()) continue;
    if (slot.address == told->second) return std::nullopt;
    other = slot.address;
  }
  return other;
}

bool BrokerPool::go_around(SlotKey key, Slot& slot, const Error& failure) {
  if (shut_down_) return false;
  const std::optional<HostPort> other = other_way(key.broker);
  const auto told = brokers_.find(key.broker);
  if (!other || told == brokers_.end() || slot.address != told->second) {
    if (!other) detours_.erase(key.broker);
    return false;
  }
  const bool is_new = detours_.insert_or_assign(key.broker, *other).second;
  const std::string sentence = explained(key.broker, *other, failure);
  start(key, slot);
  if (is_new) log(sentence);  // behind all that its hearer, by closing the client, would change
  return true;
}

std::string BrokerPool::explained(BrokerId broker, const HostPort& other,
                                  const Error& failure) const {
  return fmt::format(
      "broker {} says that its address is {}, which fails: {}; going on by {}, where it "
      "answers; see its setting advertised.listen",
      broker.value(), brokers_.at(broker).to_string(), failure.message(), other.to_string());
}

void BrokerPool::watch(SlotKey key, Connection& connection) {
  Slot& found = slot(key);
  found.open = true;
  found.opened_at = executor_.clock().now();
  last_failure_.reset();
  wrong_cluster_.reset();
  cluster_id_ = connection.hello().cluster_id;
  note_shards(connection.hello());
  connection.on_closed([this, key](const Error& reason) { closed(key, reason); });
  connection.on_draining([this, key] { drain(key); });
}

void BrokerPool::note_shards(const HelloAnswer& hello) {
  const auto [at, is_new] = shard_counts_.try_emplace(hello.broker_id, hello.shard_count);
  if (std::exchange(at->second, hello.shard_count) != hello.shard_count) ++reshardings_;
}

void BrokerPool::end_sharing(SlotKey key) {
  for (auto& [other, slot] : slots_) {
    if (other.broker != key.broker || other.lane != key.lane || !slot.shares) continue;
    slot.shares = false;
    executor_.cancel(std::exchange(slot.retry_timer, 0));
  }
}

void BrokerPool::closed(SlotKey key, const Error& reason) {
  Slot& slot = slots_.at(key);
  last_failure_ = reason;
  if (!shut_down_) log(reason.message());
  if (executor_.clock().now() - slot.opened_at >= kSoundLife) slot.backoff.reset();
  discard(std::move(slot.connection));
  slot.open = false;
  wait_before_retry(slot);
  end_sharing(key);
  changed();
}

void BrokerPool::drain(SlotKey key) {
  Slot& slot = slots_.at(key);
  const std::string sentence = fmt::format("{} is going to stop", slot.connection->name());
  Connection* leaving = slot.connection.get();
  leaving->on_draining(nullptr);
  leaving->on_closed([this, leaving](const Error&) {
    const auto at = std::ranges::find(draining_, leaving, &std::unique_ptr<Connection>::get);
    if (at == draining_.end()) return;
    discard(std::move(*at));
    draining_.erase(at);
  });
  draining_.push_back(std::move(slot.connection));
  slot.open = false;
  wait_before_retry(slot);
  end_sharing(key);
  log(sentence);  // behind all that its hearer, by closing the client, would change
  changed();
}

void BrokerPool::wait_before_retry(Slot& slot) {
  if (shut_down_) return;
  const auto wait = slot.shares ? kSharingTime : slot.backoff.next();
  slot.retry_timer = executor_.run_after(wait, [this, &slot] {
    slot.retry_timer = 0;
    changed();
  });
}

Connection* BrokerPool::find_any() {
  if (shut_down_) return nullptr;
  bool opening = seed_connection_ != nullptr;
  for (auto& [key, slot] : slots_) {
    if (key.lane != Lane::kControl || !slot.connection) continue;
    if (slot.open) return slot.connection.get();
    opening = true;
  }
  if (!opening && seed_timer_ == 0) try_next_seed();
  return nullptr;
}

Connection* BrokerPool::find_by_serial(std::uint64_t serial) {
  const auto at = std::ranges::find_if(slots_, [serial](const auto& entry) {
    return entry.second.open && entry.second.connection->serial() == serial;
  });
  return at != slots_.end() ? at->second.connection.get() : nullptr;
}

std::vector<HostPort> BrokerPool::all_addresses() const {
  std::vector<HostPort> addresses = options_.seeds;
  for (const auto& [id, address] : brokers_) {
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

void BrokerPool::try_next_seed() {
  const std::vector<HostPort> addresses = all_addresses();
  if (addresses.empty()) return;
  const HostPort& address = addresses[next_seed_++ % addresses.size()];
  ++tried_in_round_;
  seed_connection_ = make_connection(kAnyShard);
  seed_connection_->open(address.host, address.port, [this, address](Result<> result) {
    seed_opened(address, std::move(result));
  });
}

void BrokerPool::seed_opened(const HostPort& address, Result<> result) {
  std::unique_ptr<Connection> connection = std::move(seed_connection_);
  if (shut_down_) return discard(std::move(connection));
  if (!result) {
    last_failure_ = result.error();
    only_wrong_cluster_ = only_wrong_cluster_ && result.error().code() == ErrorCode::kWrongCluster;
    discard(std::move(connection));
    if (tried_in_round_ < all_addresses().size()) {
      try_next_seed();
    } else {
      tried_in_round_ = 0;
      ++rounds_failed_;
      if (std::exchange(only_wrong_cluster_, true)) wrong_cluster_ = last_failure_;
      seed_timer_ = executor_.run_after(seed_backoff_.next(), [this] {
        seed_timer_ = 0;
        changed();
      });
    }
    log(fmt::format("cannot reach a broker: {}", result.error().message()));
    return changed();
  }
  tried_in_round_ = 0;
  only_wrong_cluster_ = true;
  seed_backoff_.reset();
  const HelloAnswer& hello = connection->hello();
  // It serves the shard that it happened to come to as well as one opened for that.
  const std::int32_t shard = connected_by({hello.broker_id, hello.shard}).shard;
  const SlotKey key{hello.broker_id, Lane::kControl, shard};
  Slot& found = slot(key);
  if (found.connection) {
    discard(std::move(connection));  // its own connection is there, or nearly
  } else {
    executor_.cancel(std::exchange(found.retry_timer, 0));
    found.shares = false;
    found.connection = std::move(connection);
    found.address = address;
    watch(key, *found.connection);
  }
  changed();
}

void BrokerPool::set_brokers(const std::vector<BrokerAddress>& brokers) {
  std::map<BrokerId, HostPort> told;
  for (const BrokerAddress& broker : brokers) {
    told.emplace(broker.id, HostPort{broker.host, broker.port});
  }
  std::erase_if(detours_, [&](const auto& detour) {
    const auto before = brokers_.find(detour.first);
    const auto now = told.find(detour.first);
    return before == brokers_.end() || now == told.end() || now->second != before->second;
  });
  brokers_ = std::move(told);
}

void BrokerPool::shut_down(const Error& reason) {
  if (shut_down_) return;
  shut_down_ = true;
  executor_.cancel(std::exchange(seed_timer_, 0));
  discard(std::move(seed_connection_));
  for (auto& [key, slot] : slots_) {
    executor_.cancel(std::exchange(slot.retry_timer, 0));
    if (slot.connection) slot.connection->close(reason);
  }
  for (std::size_t left = draining_.size(); left > 0 && !draining_.empty(); --left) {
    draining_.back()->close(reason);
  }
}

}  // namespace tidelog::client_core
