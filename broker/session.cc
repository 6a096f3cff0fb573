#include "broker/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "broker/shard.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

// How long news may wait for the next fetch of its session.
constexpr std::chrono::milliseconds kUnaskedNewsKept{1000};

// What a partition of a session takes, here and on its owner's shard, about. The first ones are
// free, so that small sessions never wait for memory.
constexpr std::size_t kPartitionBytes = 384;
constexpr std::size_t kFreePartitions = 64;

// Nobody may ask for more of the fetch memory at once than this part of it, and while it is scarce,
// than this smaller one.
constexpr std::size_t kCreditPart = 8;
constexpr std::size_t kScarceCreditPart = 1024;
constexpr std::size_t kCreditMin = 64 << 10;

}  // namespace

struct FetchSession::OpenFetch {
  std::uint64_t serial = 0;
  RequestTicket ticket;
  std::size_t min_bytes = 1;
  std::size_t bytes_max = 0;
  TimerId timer = 0;
  bool expired = false;  // answer as soon as every shard was asked
};

FetchSession::FetchSession(ClientConnection& connection, std::uint64_t id)
    : connection_(connection),
      id_(id),
      held_partitions_(kFreePartitions),
      slices_(connection.shard().router().shard_count()) {
  connection.shard().add_session(*this);
}

FetchSession::~FetchSession() {
  Shard& shard = connection_.shard();
  shard.remove_session(id_);
  for (const OpenFetch& fetch : open_) shard.executor().cancel(fetch.timer);
  shard.executor().cancel(pause_timer_);
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (!slices_[i].has_reader) continue;
    shard.router().send(i, [id = id_](Shard* owner) { owner->parked_fetches().close(id); });
  }
}

bool FetchSession::fetch(FetchOrder order, RequestTicket ticket) {
  if (const Result<> fits = make_room_for(partitions_with(order)); !fits) {
    ticket.fail(fits.error());
    return false;
  }
  apply(order);
  // One batch always fits beside the rest of an answer: batch limit + 64 KiB <= frame limit.
  const std::size_t frame_bytes_max = std::min(connection_.peer_frame_bytes_max(),
                                               connection_.shard().broker().limits.frame_bytes_max);
  const std::size_t bytes_max = frame_bytes_max - wire::kFrameOverheadBytesMax;
  OpenFetch open;
  open.serial = ++last_serial_;
  open.ticket = std::move(ticket);
  open.bytes_max = order.bytes_max == 0 ? bytes_max : std::min(order.bytes_max, bytes_max);
  open.min_bytes = std::min(std::max<std::size_t>(order.min_bytes, 1), open.bytes_max);
  open.expired =
      order.max_wait.count() == 0 || order.min_bytes == 0 || connection_.shard().draining();
  if (!open.expired) {
    open.timer = connection_.shard().executor().run_after(
        std::min(order.max_wait, connection_.shard().broker().limits.fetch_wait_max),
        [this, serial = open.serial] { expire(serial); });
  }
  open_.push_back(std::move(open));
  advance();
  return true;
}

std::size_t FetchSession::partitions_with(const FetchOrder& order) const {
  const std::size_t most = partitions_.size() + order.changed.size();
  if (most <= held_partitions_) return most;
  PartitionSet after;
  for (const auto& [id, state] : partitions_) after.insert(id);
  for (const TopicPartition& id : order.forgotten) after.erase(id);
  for (const FetchTarget& target : order.changed) after.insert(target.id);
  return after.size();
}

Result<> FetchSession::make_room_for(std::size_t partitions) {
  if (partitions > kPartitionsMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a fetch session has at most {} partitions", kPartitionsMax));
  }
  if (partitions <= held_partitions_) return {};
  BrokerContext& broker = connection_.shard().broker();
  const std::size_t bytes = (partitions - held_partitions_) * kPartitionBytes;
  BudgetHold part = broker.session_budget.take_if_room(bytes);
  BudgetHold hold = part ? broker.control_budget.take_if_room(bytes) : BudgetHold();
  if (!hold) {
    return fail(ErrorCode::kOverloaded,
                fmt::format("broker {} has no memory left for a fetch session of {} partitions",
                            broker.id.value(), partitions));
  }
  partition_holds_.push_back(std::move(part));
  partition_holds_.push_back(std::move(hold));
  held_partitions_ = partitions;
  return {};
}

void FetchSession::apply(FetchOrder& order) {
  advancing_ = true;  // what this shard delivers meanwhile is looked at by advance()
  forget(order.forgotten);
  Shard& shard = connection_.shard();
  std::vector<std::vector<FetchTarget>> by_owner(order.changed.empty() ? 0 : slices_.size());
  for (FetchTarget& target : order.changed) {
    target.generation = ++last_generation_;
    const std::size_t owner = shard.router().owner_of(target.id);
    const auto [at, added] = partitions_.try_emplace(target.id);
    if (added) ++slices_[owner].partitions;
    at->second = PartitionState{.generation = target.generation, .bytes_max = target.bytes_max};
  }
  for (const FetchTarget& target : order.changed) {
    // Of a partition that is named more than once the last place counts.
    if (partitions_.at(target.id).generation != target.generation) continue;
    by_owner[shard.router().owner_of(target.id)].push_back(target);
  }
  drop_news_of(order);
  for (std::size_t i = 0; i < by_owner.size(); ++i) {
    if (by_owner[i].empty()) continue;
    slices_[i].has_reader = true;
    const ParkedFetches::SessionKey key{.session = id_, .home = shard.index()};
    shard.router().send(i, [key, targets = std::move(by_owner[i])](Shard* owner) mutable {
      owner->parked_fetches().change(key, std::move(targets));
    });
  }
  advancing_ = false;
}

void FetchSession::forget(const std::vector<TopicPartition>& partitions) {
  if (partitions.empty()) return;
  Shard& shard = connection_.shard();
  std::vector<std::vector<TopicPartition>> by_owner(slices_.size());
  for (const TopicPartition& id : partitions) {
    if (partitions_.erase(id) == 0) continue;
    const std::size_t owner = shard.router().owner_of(id);
    --slices_[owner].partitions;
    by_owner[owner].push_back(id);
  }
  for (std::size_t i = 0; i < by_owner.size(); ++i) {
    if (by_owner[i].empty()) continue;
    shard.router().send(i, [session = id_, ids = std::move(by_owner[i])](Shard* owner) {
      owner->parked_fetches().forget(session, ids);
    });
  }
}

void FetchSession::drop_news_of(const FetchOrder& order) {
  if (news_.empty()) return;
  PartitionSet named(order.forgotten.begin(), order.forgotten.end());
  for (const FetchTarget& target : order.changed) named.insert(target.id);
  news_.drop(named);
}

void FetchSession::deliver(std::size_t from, std::vector<FetchChunk> chunks) {
  Slice& slice = slices_[from];
  slice.armed = false;
  slice.must_reply = false;
  ++deliveries_;
  for (FetchChunk& chunk : chunks) {
    const auto at = partitions_.find(chunk.id);
    // News of a position that the client has left meanwhile.
    if (at == partitions_.end() || at->second.generation != chunk.generation) continue;
    if (chunk.error) {
      --slice.partitions;
      partitions_.erase(at);
    }
    news_.add(std::move(chunk));
  }
  advance();
  if (!connection_.can_answer_fetch()) disarm();
}

bool FetchSession::satisfied(const OpenFetch& fetch) const {
  if (news_.bytes() >= fetch.min_bytes || news_.has_error()) return true;
  // What waits to become more holds memory that others need.
  return news_.bytes() > 0 && connection_.shard().broker().fetch_budget.is_scarce();
}

bool FetchSession::reply_pending() const {
  return std::ranges::any_of(slices_, [](const Slice& slice) { return slice.must_reply; });
}

void FetchSession::advance() {
  if (advancing_) return;
  advancing_ = true;
  while (!open_.empty() && connection_.can_answer_fetch()) {
    const OpenFetch& front = open_.front();
    if (!satisfied(front)) {
      const std::uint64_t before = deliveries_;
      pull(front);
      if (!satisfied(front)) {
        // This shard delivered at once, but not enough: ask it again until it has nothing more.
        if (deliveries_ != before) continue;
        if (!front.expired || reply_pending()) break;
      }
    }
    answer_front();
  }
  advancing_ = false;
}

void FetchSession::pull(const OpenFetch& fetch) {
  std::size_t credit = fetch.bytes_max - std::min(fetch.bytes_max, news_.bytes());
  const MemoryBudget& budget = connection_.shard().broker().fetch_budget;
  const std::size_t part = budget.is_scarce() ? kScarceCreditPart : kCreditPart;
  credit = std::min(credit, std::max(budget.limit() / part, kCreditMin));
  first_slice_ = (first_slice_ + 1) % slices_.size();
  for (std::size_t n = 0; n < slices_.size(); ++n) {
    const std::size_t i = (first_slice_ + n) % slices_.size();
    Slice& slice = slices_[i];
    if (slice.partitions == 0) continue;
    if (slice.armed) {
      if (!fetch.expired || slice.must_reply) continue;
    } else {
      // One round for a fetch that does not wait.
      if (fetch.expired && slice.asked_for == fetch.serial) continue;
      slice.armed = true;
      slice.asked_for = fetch.serial;
    }
    slice.must_reply = fetch.expired;
    connection_.shard().router().send(i,
                                      [session = id_, credit, reply = fetch.expired](Shard* owner) {
                                        owner->parked_fetches().arm(session, credit, reply);
                                      });
  }
}

void FetchSession::answer_front() {
  OpenFetch fetch = std::move(open_.front());
  open_.pop_front();
  Shard& shard = connection_.shard();
  shard.executor().cancel(fetch.timer);

  FetchNews::Results results = news_.take(fetch.bytes_max);
  std::size_t bytes = 0;
  for (const FetchChunk& result : results.chunks) bytes += result.bytes;
  connection_.charge_out(bytes);
  flatbuffers::FlatBufferBuilder& table = shard.builder();
  write_fetch_answer(table, connection_, id_, results.chunks);
  std::vector<SharedBytes> pieces;
  for (FetchChunk& result : results.chunks) {
    std::ranges::move(result.pieces, std::back_inserter(pieces));
    if (result.hold) results.holds.push_back(std::move(result.hold));
  }
  fetch.ticket.answer(table, std::move(pieces), std::move(results.holds));
  answered_at_ = shard.executor().clock().now();
  if (open_.empty()) disarm();
  // While the client takes nothing, or is above its quota, nothing is read for it, either.
  if (!connection_.can_answer_fetch()) connection_.sessions().cannot_answer();
}

void FetchSession::cannot_answer() {
  if (!open_.empty()) disarm();
}

void FetchSession::disarm() {
  Executor& executor = connection_.shard().executor();
  if (pause_timer_ == 0) {
    answered_at_ = executor.clock().now();
    pause_timer_ = executor.run_after(kUnaskedNewsKept, [this] { look_whether_paused(); });
  }
  disarm_slices();
}

void FetchSession::disarm_slices() {
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (!std::exchange(slices_[i].armed, false)) continue;
    slices_[i].must_reply = false;
    slices_[i].asked_for = 0;  // without an answer: to be asked again
    connection_.shard().router().send(
        i, [session = id_](Shard* owner) { owner->parked_fetches().disarm(session); });
  }
}

void FetchSession::look_whether_paused() {
  pause_timer_ = 0;
  if (!open_.empty() && connection_.can_answer_fetch()) return;
  Executor& executor = connection_.shard().executor();
  const auto waited = executor.clock().now() - answered_at_;
  if (waited >= kUnaskedNewsKept) {
    disarm_slices();
    return take_back_news();
  }
  pause_timer_ =
      executor.run_after(std::chrono::ceil<std::chrono::microseconds>(kUnaskedNewsKept - waited),
                         [this] { look_whether_paused(); });
}

void FetchSession::take_back_news() {
  Router& router = connection_.shard().router();
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (!slices_[i].has_reader) continue;
    router.send(i, [id = id_](Shard* owner) { owner->parked_fetches().take_back(id); });
  }
  // Each partition goes back to where its first news was read from, and is read again when asked
  // for.
  FetchOrder order;
  PartitionSet named;
  for (const FetchChunk& chunk : news_.chunks()) {
    const auto state = partitions_.find(chunk.id);
    if (chunk.error || state == partitions_.end()) continue;
    if (!named.insert(chunk.id).second) continue;
    order.changed.push_back(
        {.id = chunk.id, .offset = chunk.first_offset, .bytes_max = state->second.bytes_max});
  }
  apply(order);
}

void FetchSession::expire(std::uint64_t serial) {
  const auto at = std::ranges::find(open_, serial, &OpenFetch::serial);
  if (at == open_.end()) return;
  at->timer = 0;
  at->expired = true;
  if (at == open_.begin()) return advance();
  // What comes belongs to the fetches before it; this one had no news in its time.
  const RequestTicket ticket = std::move(at->ticket);
  open_.erase(at);
  flatbuffers::FlatBufferBuilder& table = connection_.shard().builder();
  write_fetch_answer(table, connection_, id_, {});
  ticket.answer(table);
}

bool FetchSession::cancel(std::uint64_t correlation) {
  const auto at = std::ranges::find_if(open_, [correlation](const OpenFetch& fetch) {
    return fetch.ticket.head().correlation == correlation;
  });
  if (at == open_.end()) return false;
  connection_.shard().executor().cancel(at->timer);
  expire(at->serial);
  return true;
}

void FetchSession::answer_all() {
  while (!open_.empty()) answer_front();
}

FetchSessions::FetchSessions(ClientConnection& connection) : connection_(connection) {}
FetchSessions::~FetchSessions() = default;

void FetchSessions::fetch(FetchOrder order, RequestTicket ticket) {
  if (order.session == 0) {
    if (order.close_session) {
      return ticket.fail(
          Error(ErrorCode::kInvalidArgument, "a fetch cannot open and close a session at once"));
    }
    if (sessions_.size() >= kSessionsMax) {
      return ticket.fail(
          Error(ErrorCode::kOverloaded,
                fmt::format("a connection has at most {} fetch sessions", kSessionsMax)));
    }
    const std::uint64_t id = connection_.shard().next_session_id();
    const auto [added, _] = sessions_.emplace(id, std::make_unique<FetchSession>(connection_, id));
    if (!added->second->fetch(std::move(order), std::move(ticket))) sessions_.erase(id);
    return;
  }
  const auto at = sessions_.find(order.session);
  if (at == sessions_.end()) {
    return ticket.fail(
        Error(ErrorCode::kUnknownSession,
              fmt::format("this connection has no fetch session {}", order.session)));
  }
  if (order.close_session) {
    at->second->answer_all();
    sessions_.erase(at);
    flatbuffers::FlatBufferBuilder& table = connection_.shard().builder();
    write_fetch_answer(table, connection_, 0, {});
    return ticket.answer(table);
  }
  at->second->fetch(std::move(order), std::move(ticket));
}

void FetchSessions::can_answer() {
  if (sessions_.empty()) return;
  auto at = sessions_.upper_bound(first_);
  if (at == sessions_.end()) at = sessions_.begin();
  first_ = at->first;
  for (std::size_t left = sessions_.size(); left > 0; --left) {
    at->second->advance();
    if (++at == sessions_.end()) at = sessions_.begin();
  }
}

void FetchSessions::cannot_answer() {
  for (auto& [id, session] : sessions_) session->cannot_answer();
}

bool FetchSessions::cancel(std::uint64_t correlation) {
  return std::ranges::any_of(
      sessions_, [correlation](auto& session) { return session.second->cancel(correlation); });
}

void FetchSessions::answer_all() {
  for (auto& [id, session] : sessions_) session->answer_all();
}

}  // namespace tidelog::broker
