#include "log/log_changes.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "log/io/storage_error.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {
constexpr std::chrono::milliseconds kFullRetryAfter{100};
}

void LogChanges::create(const TopicPartition& id, const PartitionLogSettings& settings,
                        ShardLogs::CreateCallback done) {
  if (const auto found = logs_.find(id); found != logs_.end()) {
    PartitionLog* log = found->second.get();
    context_.environment.executor->post([log, done = std::move(done)]() mutable { done(log); });
    return;
  }
  creations_.push_back({id, settings, std::move(done)});
  if (creations_.size() == 1 && !changing_catalog_) {
    context_.environment.executor->post([this, alive = std::weak_ptr<bool>(context_.alive)] {
      if (!alive.expired()) proceed();
    });
  }
}

void LogChanges::remove(const TopicPartition& id, ShardLogs::DoneCallback done) {
  const auto it = logs_.find(id);
  if (it == logs_.end()) {
    context_.environment.executor->post([id, done = std::move(done)]() mutable {
      done(fail(ErrorCode::kUnknownPartition, fmt::format("{} is not here", id.to_string())));
    });
    return;
  }
  const auto log = it->second;
  logs_.erase(it);
  ++leaving_[id];
  retiring_.push_back(log);
  // Posted, so that the caller's callbacks never run inside this call; holds the log until it is at
  // rest.
  context_.environment.executor->post([this, log, id, done = std::move(done),
                                       alive = std::weak_ptr<bool>(context_.alive)]() mutable {
    if (alive.expired()) return;
    log->retire([this, log, id, done = std::move(done)]() mutable {
      removals_.push_back({id, log, std::move(done)});
      proceed();
    });
  });
}

void LogChanges::proceed() {
  if (changing_catalog_) return;
  if (context_.failure) {
    return refuse_changes(Error(ErrorCode::kStorageFailed, context_.failure->message()));
  }
  if (context_.gave_up) return refuse_changes(no_space_to_close());
  if (!removals_.empty() && !removals_wait_ && !removing_) return remove_all();
  if (!creations_.empty()) create_all();
}

// Posted, so that callers' callbacks never run inside the call that found the reason. What the logs
// hold stays as it is: the next start may find them in the catalog.
void LogChanges::refuse_changes(const Error& error) {
  if (!removals_.empty()) context_.clean = false;  // the catalog still lists them
  for (const Removal& removal : removals_) {
    if (--leaving_[removal.id] == 0) leaving_.erase(removal.id);
  }
  context_.environment.executor->post([creations = std::exchange(creations_, {}),
                                       removals = std::exchange(removals_, {}), error]() mutable {
    for (Creation& creation : creations) creation.done(fail(error));
    for (Removal& removal : removals) removal.done(fail(error));
  });
}

void LogChanges::create_all() {
  // A partition whose former life is still leaving waits for the next round.
  auto creations = std::make_shared<std::vector<Creation>>();
  std::vector<Creation> later;
  for (Creation& creation : creations_) {
    const bool waits = leaving_.contains(creation.id);
    (waits ? later : *creations).push_back(std::move(creation));
  }
  creations_ = std::move(later);
  if (creations->empty()) return;
  changing_catalog_ = true;
  std::vector<Catalog::Change> changes;
  for (const Creation& creation : *creations)
    changes.push_back({creation.id, ReplicaState::kLives});
  context_.run_blocking<std::vector<std::uint32_t>>(
      [this, changes]() -> Result<std::vector<std::uint32_t>> {
        std::vector<TopicPartition> ids;
        ids.reserve(changes.size());
        for (const Catalog::Change& change : changes) ids.push_back(change.id);
        TIDELOG_TRY(directories_.make(ids));
        return catalog_.apply(changes);
      },
      [this, creations](Result<std::vector<std::uint32_t>> made) {
        changing_catalog_ = false;
        if (!made && io::is_final(made.error())) context_.fail(made.error());
        for (std::size_t i = 0; i < creations->size(); ++i) {
          finish_creation(std::move((*creations)[i]),
                          made ? Result<std::uint32_t>((*made)[i]) : fail(made.error()));
        }
        proceed();
      });
}

void LogChanges::finish_creation(Creation creation, const Result<std::uint32_t>& incarnation) {
  if (!incarnation) return creation.done(fail(incarnation.error()));
  auto& log = logs_[creation.id];
  if (!log) {
    RecoveredLog empty;
    empty.id = creation.id;
    empty.incarnation = *incarnation;
    log = std::make_shared<PartitionLogImpl>(context_, std::move(empty), creation.settings);
  }
  creation.done(log.get());
}

void LogChanges::remove_all() {
  changing_catalog_ = removing_ = true;
  auto round = std::make_shared<RemovalRound>();
  round->removals = std::exchange(removals_, {});
  std::vector<Catalog::Change> marked;
  for (const Removal& removal : round->removals) {
    marked.push_back({removal.id, ReplicaState::kRemoving});
  }
  if (broken(Rule::kRemovalIsMarked)) marked.clear();
  apply_to_catalog(std::move(marked), [this, round](const Result<>& applied) {
    changing_catalog_ = false;
    if (applied) {
      release(round);
    } else {
      end_removals(round, applied);
    }
    proceed();
  });
}

// Only now: a catalog without the mark would bring the logs back, with nothing in the journal.
void LogChanges::release(const RemovalRoundPtr& round) {
  round->unreleased = round->removals.size();
  for (std::size_t i = 0; i < round->removals.size(); ++i) {
    const auto released = [this, round] {
      if (--round->unreleased == 0) remove_files(round);
    };
    const auto log = std::exchange(round->removals[i].log, nullptr);
    if (log == nullptr) {  // in an earlier round
      released();
      continue;
    }
    std::erase(retiring_, log);
    log->release(released);
  }
}

void LogChanges::remove_files(const RemovalRoundPtr& round) {
  if (context_.failure || round->gone == round->removals.size()) return settle_removals(round, {});
  context_.run_removal<void>(
      [this, id = round->removals[round->gone].id, stop = removal_stop_.get_token()] {
        return broken(Rule::kStruckOutWhenGone) ? Result<>() : directories_.remove(id, stop);
      },
      [this, round](const Result<>& removed) {
        if (!removed) return settle_removals(round, removed);
        ++round->gone;
        remove_files(round);
      });
}

// `result`: of the one that was removed last. Whatever a crash brings back until the syncs are over
// is in the catalog as being removed.
void LogChanges::settle_removals(const RemovalRoundPtr& round, const Result<>& result) {
  if (context_.failure || round->gone == 0) return strike_out(round, result);
  std::vector<TopicPartition> gone;
  gone.reserve(round->gone);
  for (std::size_t i = 0; i < round->gone; ++i) gone.push_back(round->removals[i].id);
  context_.run_removal<void>([this, gone = std::move(gone)] { return directories_.settle(gone); },
                             [this, round, result](const Result<>& settled) {
                               if (!settled) round->gone = 0;
                               strike_out(round, settled ? result : settled);
                             });
}

void LogChanges::strike_out(const RemovalRoundPtr& round, const Result<>& result) {
  if (context_.failure) return end_removals(round, fail(*context_.failure));
  std::vector<Catalog::Change> struck;
  for (std::size_t i = 0; i < round->gone; ++i) {
    struck.push_back({round->removals[i].id, std::nullopt});
  }
  if (struck.empty()) return end_removals(round, result);
  apply_to_catalog(std::move(struck), [this, round, result](const Result<>& applied) {
    if (!applied) round->gone = 0;
    end_removals(round, applied ? result : applied);
  });
}

// Those that are gone are answered; the others wait, or hear why they cannot go now.
void LogChanges::end_removals(const RemovalRoundPtr& round, const Result<>& result) {
  removing_ = false;
  const bool stopped = !result && result.error().code() == ErrorCode::kDraining;
  const bool later = !result && !stopped && !io::is_final(result.error());
  if (!result && !stopped && !later) {
    context_.fail(result.error());
    round->gone = 0;  // what the catalog says is not known
  }
  std::vector<Removal> waiting;
  for (std::size_t i = 0; i < round->removals.size(); ++i) {
    Removal& removal = round->removals[i];
    if (i >= round->gone && later) {
      waiting.push_back(std::move(removal));
      continue;
    }
    if (--leaving_[removal.id] == 0) leaving_.erase(removal.id);
    removal.done(i < round->gone ? Result<>() : result);
  }
  if (later) return remove_later(std::move(waiting));
  proceed();
}

void LogChanges::apply_to_catalog(std::vector<Catalog::Change> changes,
                                  std::move_only_function<void(Result<>)> then) {
  context_.run_blocking<void>(
      [this, changes = std::move(changes)]() -> Result<> {
        if (const auto applied = catalog_.apply(changes); !applied) return fail(applied.error());
        return {};
      },
      std::move(then));
}

// A removal ends as a removal, so that no new life of a partition begins beside files of the old.
void LogChanges::remove_later(std::vector<Removal> removals) {
  std::ranges::move(removals, std::back_inserter(removals_));
  removals_wait_ = true;
  context_.check_space();
  if (!context_.gives_up()) {
    context_.environment.executor->run_after(kFullRetryAfter,
                                             [this, alive = std::weak_ptr<bool>(context_.alive)] {
                                               if (alive.expired()) return;
                                               removals_wait_ = false;
                                               proceed();
                                             });
  }
  proceed();
}

}  // namespace tidelog::log
