#include "broker/shard.h"

#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>
#include <pthread.h>

#include <utility>

#include "base/blocking_pool.h"
#include "base/check.h"
#include "base/logging.h"
#include "broker/metrics.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

// How long a refusal may take to reach a peer that does not read.
constexpr std::chrono::milliseconds kRefusalDeadline{1000};

}  // namespace
Shard::Shard(std::size_t index, BrokerContext& broker, BufferPool& buffers)
    : index_(index),
      broker_(broker),
      buffers_(buffers),
      metrics_(broker.metrics->shard(index)),
      executor_(std::make_unique<wire::AsioExecutor>()),
      network_(std::make_unique<wire::AsioNetwork>(*executor_)),
      builder_(std::make_unique<flatbuffers::FlatBufferBuilder>(4096)),
      frames_(buffers),
      topics_(*this),
      parked_fetches_(*this),
      calls_(*executor_) {}

Shard::~Shard() { let_go(); }

void Shard::let_go() {
  TIDELOG_CHECK(!thread_.joinable(), "a shard's thread ends before the shard");
  listener_.reset();
  // Each connection takes itself out.
  while (!connections_.empty()) {
    const std::shared_ptr<ClientConnection> connection = connections_.begin()->second;
    connection->forget();
  }
  topics_.clear();
  logs_ = nullptr;
}

void Shard::set_peers(std::vector<Router::Peer> peers) {
  router_ = std::make_unique<Router>(index_, std::move(peers));
}

Result<std::uint16_t> Shard::listen(const wire::ListenOptions& options) {
  TIDELOG_ASSIGN(listener_,
                 network_->listen(options, [this](std::unique_ptr<wire::Connection> stream) {
                   accept(std::move(stream));
                 }));
  return listener_->port();
}

void Shard::start() {
  executor_->set_turn_hook([this] { end_of_turn(); });
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), fmt::format("shard-{}", index_).c_str());
    mark_nonblocking_thread();
    executor_->run();
  });
}

void Shard::join() {
  if (!thread_.joinable()) return;
  executor_->stop();
  thread_.join();
}

Executor& Shard::executor() { return *executor_; }

flatbuffers::FlatBufferBuilder& Shard::builder() {
  builder_->Clear();
  return *builder_;
}

void Shard::accept(std::unique_ptr<wire::Connection> stream) {
  if (draining_) return;
  metrics_.accepted_connections.add();
  Result<ConnectionSlot> slot = broker_.connection_slots.take(stream->peer());
  if (!slot) return refuse(*stream, slot.error());
  add_connection(std::move(stream), std::move(*slot))->start();
}

// A notice and the end; the stream sends it by itself.
void Shard::refuse(wire::Connection& stream, const Error& reason) {
  metrics_.refused_connections.add();
  flatbuffers::FlatBufferBuilder& table = builder();
  write_notice(table, NoticeKind::kClosing, reason);
  stream.send({frames_.encode({}, table, 0)}, nullptr);
  stream.close_when_sent(kRefusalDeadline);
  // Who tries again and again is not to fill the log.
  if (const auto left_out = closed_lines_.admit(executor_->clock().now())) {
    log_warning(
        fmt::format("a connection from {} was refused: {}{}", stream.peer(), reason.message(),
                    *left_out == 0 ? "" : fmt::format(" ({} such lines left out)", *left_out)));
  }
}

std::shared_ptr<ClientConnection> Shard::add_connection(std::unique_ptr<wire::Connection> stream,
                                                        ConnectionSlot slot) {
  const std::uint64_t id = ++last_id_;
  const auto [added, _] = connections_.emplace(
      id, std::make_shared<ClientConnection>(*this, std::move(stream), std::move(slot), id));
  metrics_.connections.set(connections_.size());
  return added->second;
}

void Shard::give_away(std::size_t shard, std::unique_ptr<wire::Connection> stream,
                      ConnectionSlot slot, Greeting greeting, std::vector<std::byte> rest) {
  router_->send(shard,
                [socket = wire::AsioNetwork::release(std::move(stream)), slot = std::move(slot),
                 greeting = std::move(greeting), rest = std::move(rest)](Shard* to) mutable {
                  to->adopt(std::move(socket), std::move(slot), greeting, rest);
                });
}

void Shard::adopt(wire::DetachedSocket socket, ConnectionSlot slot, const Greeting& greeting,
                  std::span<const std::byte> rest) {
  std::unique_ptr<wire::Connection> stream = network_->adopt(std::move(socket));
  if (!stream) return;  // closed: its client tries again
  metrics_.moved_connections.add();
  const std::shared_ptr<ClientConnection> connection =
      add_connection(std::move(stream), std::move(slot));
  connection->resume(greeting, rest);
  // It was on its way when the others were told.
  if (draining_) connection->drain();
}

void Shard::connection_gone(std::uint64_t id) {
  connections_.erase(id);
  metrics_.connections.set(connections_.size());
}

std::uint64_t Shard::next_session_id() {
  // Unique in this broker: the shard is in the lowest bits. Never 0.
  return ++last_id_ * router_->shard_count() + index_;
}

FetchSession* Shard::find_session(std::uint64_t id) {
  const auto at = sessions_.find(id);
  return at != sessions_.end() ? at->second : nullptr;
}

std::uint64_t Shard::keep(RequestTicket ticket) {
  const std::uint64_t id = ++last_id_;
  kept_.emplace(id, Kept{.ticket = std::move(ticket)});
  return id;
}

std::uint64_t Shard::keep(RequestTicket ticket, std::chrono::milliseconds within,
                          std::move_only_function<void(RequestTicket)> late) {
  const std::uint64_t id = keep(std::move(ticket));
  kept_.at(id).timer = executor_->run_after(
      within, [this, id, late = std::move(late)]() mutable { late(take_kept(id)); });
  return id;
}

RequestTicket Shard::take_kept(std::uint64_t id) {
  auto kept = kept_.extract(id);
  if (kept.empty()) return {};
  executor_->cancel(kept.mapped().timer);
  return std::move(kept.mapped().ticket);
}

RequestTicket Shard::take_kept(const ClientConnection& connection, std::uint64_t correlation) {
  for (const auto& [id, kept] : kept_) {
    const RequestTicket& ticket = kept.ticket;
    if (&ticket.connection() == &connection && ticket.head().correlation == correlation) {
      return take_kept(id);
    }
  }
  return {};
}

void Shard::wait_for_budget(MemoryBudget& budget, std::shared_ptr<ClientConnection> connection) {
  metrics_.budget_waits.add();
  wait_for_budget_[&budget].push_back(std::move(connection));
}

bool Shard::is_waited_for(const MemoryBudget& budget) const {
  const auto waiting = wait_for_budget_.find(&budget);
  return waiting != wait_for_budget_.end() && !waiting->second.empty();
}

void Shard::budget_freed(MemoryBudget& budget) {
  std::deque<std::shared_ptr<ClientConnection>>& waiting = wait_for_budget_[&budget];
  // Who is refused again stays at the head, and nobody behind overtakes it.
  for (std::size_t left = waiting.size(); left > 0; --left) {
    const std::shared_ptr<ClientConnection> first = waiting.front();
    if (!first->retry_admission(budget)) return;
    waiting.pop_front();
  }
}

void Shard::drain(std::chrono::milliseconds within, Task drained) {
  draining_ = true;
  if (listener_) listener_->close();
  drained_ = std::move(drained);
  std::vector<std::shared_ptr<ClientConnection>> open;
  open.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) open.push_back(connection);
  for (const auto& connection : open) connection->drain();
  wait_for_drain(within);
}

void Shard::close_connections(std::chrono::milliseconds within, Task closed) {
  closed_ = std::move(closed);
  std::vector<std::shared_ptr<ClientConnection>> open;
  open.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) open.push_back(connection);
  for (const auto& connection : open) connection->close(within);
  wait_for_drain(within);
}

void Shard::wait_for_drain(std::chrono::milliseconds within) {
  executor_->cancel(drain_timer_);
  drain_timer_ = executor_->run_after(within, [this] { look_whether_drained(/*late=*/true); });
}

void Shard::look_whether_drained(bool late) {
  if (!drained_ && !closed_) return;
  bool idle = true;
  for (const auto& [id, connection] : connections_) idle = idle && connection->idle();
  if (drained_ && (idle || late)) std::exchange(drained_, nullptr)();
  if (closed_ && (connections_.empty() || late)) std::exchange(closed_, nullptr)();
}

void Shard::publish_counters() {
  metrics_.partitions.set(topics_.partition_count());
  if (logs_ == nullptr) return;
  const log::ShardLogs::Counters counters = logs_->counters();
  metrics_.tail_cache_bytes.set(counters.tail_cache_bytes);
  metrics_.tail_reads.set(counters.tail_reads);
  metrics_.cold_reads.set(counters.cold_reads);
  metrics_.journal_writes.set(counters.journal_writes);
  metrics_.journal_bytes.set(counters.journal_bytes);
  metrics_.segment_writes.set(counters.segment_writes);
  metrics_.segment_bytes.set(counters.segment_bytes);
  metrics_.produced_batches.set(counters.appended_batches);
  metrics_.produced_bytes.set(counters.appended_bytes);
  metrics_.storage_full.set(counters.short_of_space ? 1 : 0);
  metrics_.open_segments.set(counters.open_segments);
  metrics_.produced_records.set(counters.appended_records);
  metrics_.undurable_bytes.set(counters.undurable_bytes);
  metrics_.lossy_partitions.set(counters.lossy_logs);
  metrics_.damaged_ranges.set(counters.damaged_ranges);
  metrics_.fetch_sessions.set(sessions_.size());
  if (counters.failed) broker_.storage_failed.store(true, std::memory_order_release);
}

void Shard::end_of_turn() {
  parked_fetches_.end_of_turn();
  calls_.end_of_turn();
  if (logs_ != nullptr) logs_->end_of_turn();
  router_->flush();
  metrics_.count_turn(std::chrono::duration_cast<std::chrono::microseconds>(
      executor_->clock().now() - executor_->turn_began_at()));
  publish_counters();
  look_whether_drained(/*late=*/false);
  // The logs may have settled something after those who wait were looked at.
  if (parked_fetches_.has_turn_work() || calls_.has_turn_work()) executor_->post([] {});
}

}  // namespace tidelog::broker
