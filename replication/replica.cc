#include "replication/replica.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "log/fifo.h"

namespace tidelog::replication {

struct Replica::State {
  // A produce that was appended and waits for everything below `end` to be held, or committed.
  struct Waiting {
    Offset end;
    ProduceOutcome outcome;
    ProduceCallback done;
  };
  struct Uncommitted {
    Offset end;
    std::size_t bytes;
  };

  ReplicaOptions options;
  bool leading = false;
  bool advance_posted = false;  // held_advanced() runs soon
  std::optional<Error> failure;
  LeaderEpoch epoch{-1};
  InSyncSet isr;
  Offset high_watermark{0};
  Offset end_at_election{0};
  Offset acknowledged{0};  // of this term; above the high watermark where one holder is enough
  // Each in the order of ends. Ten thousand idle replicas have them too: they take memory only once
  // they are used.
  log::Fifo<Waiting> for_held;
  log::Fifo<Waiting> for_commit;
  log::Fifo<Uncommitted> uncommitted;
  std::size_t uncommitted_bytes = 0;
  std::function<void()> advanced;
};

Replica::Replica(Executor& executor, log::PartitionLog& log, const ReplicaOptions& options)
    : executor_(executor), log_(log), state_(std::make_shared<State>()) {
  state_->options = options;
  state_->high_watermark =
      std::min(std::max(log.recovered_high_watermark(), log.log_start()), log.durable_end());
  log_.on_durable([this](Offset) { held_advanced(); });
  log_.on_failure([this](const Error& error) { log_failed(error); });
}

Replica::~Replica() {
  log_.on_durable(nullptr);
  log_.on_failure(nullptr);
  abandon("the replica was closed");
}

void Replica::become_leader(LeaderEpoch epoch, InSyncSet isr) {
  TIDELOG_CHECK(epoch >= log_.last_epoch(), "a leader's epoch is not below its log's");
  TIDELOG_CHECK(!state_->leading || epoch > state_->epoch, "a term has an epoch of its own");
  TIDELOG_CHECK(isr.contains(state_->options.self), "only a member of the in-sync set leads");
  if (state_->failure) return;
  abandon("a new leader epoch began");
  state_->leading = true;
  state_->epoch = epoch;
  state_->isr = std::move(isr);
  state_->end_at_election = state_->acknowledged = log_.log_end();
  state_->isr.advance(state_->options.self, held_end());
  // Parked fetches look again also when nothing rose: the end of an unready time is news to them.
  raise_high_watermark();
  if (state_->advanced) executor_.post([advanced = state_->advanced] { advanced(); });
}

void Replica::stop() {
  if (!state_->leading) return;
  const Offset kept = std::max(state_->high_watermark, state_->acknowledged);
  abandon("this broker stopped leading the partition", log_.withdraw(kept));
  if (state_->advanced) executor_.post([advanced = state_->advanced] { advanced(); });
}

bool Replica::leading() const { return state_->leading; }
LeaderEpoch Replica::leader_epoch() const { return state_->epoch; }
Offset Replica::high_watermark() const { return state_->high_watermark; }
const InSyncSet& Replica::isr() const { return state_->isr; }

void Replica::produce(std::span<const std::byte> batches, Acks acks, ProduceCallback done) {
  State& state = *state_;
  const auto refuse = [this, &done](Error error) {
    if (!done) return;
    executor_.post([done = std::move(done), error = std::move(error)]() mutable {
      done(fail(std::move(error)));
    });
  };
  const auto name = [this] { return log_.id().to_string(); };
  if (state.failure) return refuse(state.failure->with_context(name()));
  if (!state.leading) {
    return refuse({ErrorCode::kNotLeader,
                   fmt::format("broker {} does not lead {}", state.options.self.value(), name())});
  }
  if (acks == Acks::kAll && state.isr.size() < state.options.min_isr) {
    return refuse({ErrorCode::kNotEnoughReplicas,
                   fmt::format("{} has {} in-sync replicas and needs {}", name(), state.isr.size(),
                               state.options.min_isr)});
  }
  // One request always fits, so that no limit locks out a large batch for ever.
  if (state.uncommitted_bytes > 0 &&
      state.uncommitted_bytes + batches.size() > state.options.uncommitted_bytes_max) {
    return refuse({ErrorCode::kOverloaded, fmt::format("{} bytes of {} wait to be committed",
                                                       state.uncommitted_bytes, name())});
  }
  Result<log::AppendResult> appended = log_.append(batches, state.epoch);
  if (!appended) return refuse(std::move(appended).error());

  if (!appended->duplicate) {
    state.uncommitted.push_back({appended->next_offset, batches.size()});
    state.uncommitted_bytes += batches.size();
  }
  if (done) settle_later(*appended, acks, std::move(done));
  if (state.options.durability == RecordDurability::kMemory) advance_later();
}

void Replica::change_durability(RecordDurability durability) {
  if (std::exchange(state_->options.durability, durability) != durability) advance_later();
}

void Replica::advance_later() {
  if (std::exchange(state_->advance_posted, true)) return;
  executor_.post([this, alive = std::weak_ptr<State>(state_)] {
    const auto held = alive.lock();
    if (held == nullptr) return;
    held->advance_posted = false;
    held_advanced();
  });
}

Offset Replica::held_end() const {
  return state_->options.durability == RecordDurability::kMemory ? log_.log_end()
                                                                 : log_.durable_end();
}

void Replica::settle_later(const log::AppendResult& appended, Acks acks, ProduceCallback done) {
  const ProduceOutcome outcome{appended.base_offset, appended.append_time_us, log_.log_start()};
  const Offset end = appended.next_offset;
  const Offset passed = acks == Acks::kAll ? state_->high_watermark : held_end();
  // A duplicate's original may be settled; and from memory the leader alone holds it at once.
  if (acks == Acks::kNone || end <= passed) {
    if (acks != Acks::kNone) state_->acknowledged = std::max(state_->acknowledged, end);
    executor_.post([done = std::move(done), outcome]() mutable { done(outcome); });
    return;
  }
  auto& waiting = acks == Acks::kAll ? state_->for_commit : state_->for_held;
  waiting.push_back({end, outcome, std::move(done)});
  // A duplicate may end below others that wait.
  for (std::size_t at = waiting.size() - 1; at > 0 && waiting[at - 1].end > end; --at) {
    std::swap(waiting[at - 1], waiting[at]);
  }
}

Result<Offset> Replica::readable_end() const {
  if (state_->failure) return state_->high_watermark;
  if (!state_->leading) {
    return fail(ErrorCode::kNotLeader,
                fmt::format("broker {} does not lead {}", state_->options.self.value(),
                            log_.id().to_string()));
  }
  if (state_->high_watermark < state_->end_at_election) {
    return fail(ErrorCode::kNotReady,
                fmt::format("the new leader of {} has committed up to {} and waits for {}",
                            log_.id().to_string(), state_->high_watermark.value(),
                            state_->end_at_election.value()));
  }
  return state_->high_watermark;
}

void Replica::on_advance(std::function<void()> listener) { state_->advanced = std::move(listener); }

void Replica::held_advanced() {
  if (!state_->leading) return;
  state_->isr.advance(state_->options.self, held_end());
  const bool rose = raise_high_watermark();
  // A callback may stop this replica or set another listener; it may not destroy it.
  settle();
  if (rose && state_->advanced) {
    const auto advanced = state_->advanced;
    advanced();
  }
}

void Replica::log_failed(const Error& error) {
  if (state_->failure) return;
  state_->failure = error;
  abandon(error.message());
  if (state_->advanced) executor_.post([advanced = state_->advanced] { advanced(); });
}

bool Replica::raise_high_watermark() {
  State& state = *state_;
  if (state.isr.size() < state.options.min_isr) return false;
  // The own end bounds it even where the set's minimum were reported higher, as it was before a
  // topic became durable.
  const Offset committed = std::min(state.isr.committed(), held_end());
  if (committed <= state.high_watermark) return false;
  state.high_watermark = committed;
  log_.set_checkpointed_high_watermark(committed);
  while (!state.uncommitted.empty() && state.uncommitted.front().end <= committed) {
    state.uncommitted_bytes -= state.uncommitted.front().bytes;
    state.uncommitted.pop_front();
  }
  return true;
}

void Replica::settle() {
  // Taken out first: a callback may call back into this replica.
  std::vector<State::Waiting> ready;
  const auto take = [this, &ready](log::Fifo<State::Waiting>& waiting, Offset passed) {
    while (!waiting.empty() && waiting.front().end <= passed) {
      state_->acknowledged = std::max(state_->acknowledged, waiting.front().end);
      ready.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
  };
  take(state_->for_held, held_end());
  take(state_->for_commit, state_->high_watermark);
  for (State::Waiting& produce : ready) produce.done(produce.outcome);
}

void Replica::abandon(const std::string& reason, std::optional<Offset> withdrawn) {
  State& state = *state_;
  state.leading = false;
  state.uncommitted.clear();
  state.uncommitted_bytes = 0;
  std::vector<ProduceCallback> unknown;
  std::vector<ProduceCallback> not_stored;
  for (log::Fifo<State::Waiting>* waiting : {&state.for_held, &state.for_commit}) {
    for (; !waiting->empty(); waiting->pop_front()) {
      State::Waiting& produce = waiting->front();
      // Of what begins below it a part may be stored.
      const bool none = withdrawn && produce.outcome.base_offset >= *withdrawn;
      (none ? not_stored : unknown).push_back(std::move(produce.done));
    }
  }
  const std::string name = log_.id().to_string();
  const auto answer = [this](std::vector<ProduceCallback> to, Error error) {
    if (to.empty()) return;
    executor_.post([to = std::move(to), error = std::move(error)]() mutable {
      for (ProduceCallback& done : to) done(fail(error));
    });
  };
  answer(std::move(unknown), {ErrorCode::kUnknownOutcome,
                              fmt::format("{}: {} before the append was committed", name, reason)});
  answer(std::move(not_stored),
         {ErrorCode::kStorageFull,
          fmt::format("{}: the disk is full: {} before there was space, and nothing of the append "
                      "is stored",
                      name, reason)});
}

}  // namespace tidelog::replication
