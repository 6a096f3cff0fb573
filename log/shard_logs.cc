#include "log/shard_logs.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/logging.h"
#include "log/io/storage_error.h"

namespace tidelog::log {
namespace {
constexpr std::chrono::milliseconds kFullRetryAfter{100};

Error no_space_to_close() {
  return {ErrorCode::kStorageFull, "the disk is full and the broker is stopping"};
}

}  // namespace

ShardLogsImpl::ShardLogsImpl(
    Parts parts, const std::function<PartitionLogSettings(const TopicPartition&)>& settings_of)
    : shard_(parts.shard),
      directories_(*parts.directories),
      catalog_(*parts.catalog),
      checkpoint_file_(*parts.checkpoint),
      failure_(*parts.failure),
      tail_cache_(parts.options.tail_cache_bytes),
      open_segments_(parts.options.open_segments_max),
      cold_reader_(context_),
      destager_(context_),
      remover_(context_),
      journal_(parts.environment, *parts.files, parts.paths, parts.options,
               std::move(parts.journal), *this) {
  context_.environment = parts.environment;
  context_.files = parts.files;
  context_.paths = std::move(parts.paths);
  context_.options = parts.options;
  context_.journal = &journal_;
  context_.destager = &destager_;
  context_.tail_cache = &tail_cache_;
  context_.cold_reader = &cold_reader_;
  context_.remover = &remover_;
  context_.open_segments = &open_segments_;
  context_.fail = [this](const Error& error) { fail_directory(error); };
  context_.check_space = [this] { check_space(); };
  context_.checkpoint = [this](std::move_only_function<void()> done) {
    checkpoint(std::move(done));
  };
  failure_.listen(*context_.environment.executor, context_.alive,
                  [this](const Error& error) { fail_directory(error); });
  set_space(parts.space);
  for (RecoveredLog& log : parts.logs) {
    const TopicPartition id = log.id;
    logs_.emplace(id,
                  std::make_shared<PartitionLogImpl>(context_, std::move(log), settings_of(id)));
  }
  journal_.retire_unheld();
}

ShardLogsImpl::~ShardLogsImpl() {
  for (const TimerId timer : {checkpoint_timer_, retention_timer_}) {
    if (timer != 0) context_.environment.executor->cancel(timer);
  }
  context_.alive.reset();
}

PartitionLog* ShardLogsImpl::find(const TopicPartition& id) {
  const auto it = logs_.find(id);
  return it == logs_.end() ? nullptr : it->second.get();
}

std::vector<PartitionLog*> ShardLogsImpl::all() {
  std::vector<PartitionLog*> all;
  all.reserve(logs_.size());
  for (const auto& [id, log] : logs_) all.push_back(log.get());
  std::ranges::sort(all, {}, [](const PartitionLog* log) { return log->id(); });
  return all;
}

// The first turn starts it: timers belong to the shard's thread, the constructor does not run
// there.
void ShardLogsImpl::start_timers() {
  checkpoint_timer_ =
      context_.environment.executor->run_after(context_.options.checkpoint_interval, [this] {
        checkpoint_timer_ = 0;
        if (context_.closing || context_.failure) return;
        check_space();
        if (!checkpointed()) checkpoint([] {});
        start_timers();
      });
}

void ShardLogsImpl::start_retention() {
  retention_timer_ =
      context_.environment.executor->run_after(context_.options.retention_interval, [this] {
        retention_timer_ = 0;
        if (context_.closing || context_.failure) return;
        for (const auto& [id, log] : logs_) log->retain();
        remover_.start();
        start_retention();
      });
}

void ShardLogsImpl::end_of_turn() {
  if (checkpoint_timer_ == 0 && !context_.closing && !context_.failure) {
    start_timers();
    if (retention_timer_ == 0) start_retention();
    remover_.start();  // what the last stop left
  }
  journal_.end_of_turn();
  if (close_done_) drive_close();
  context_.environment.queue->submit();
}

void ShardLogsImpl::create(const TopicPartition& id, const PartitionLogSettings& settings,
                           CreateCallback done) {
  if (PartitionLog* log = find(id)) {
    context_.environment.executor->post([log, done = std::move(done)]() mutable { done(log); });
    return;
  }
  creations_.push_back({id, settings, std::move(done)});
  if (creations_.size() == 1 && !changing_catalog_) {
    context_.environment.executor->post([this, alive = std::weak_ptr<bool>(context_.alive)] {
      if (!alive.expired()) change_catalog();
    });
  }
}

void ShardLogsImpl::remove(const TopicPartition& id, DoneCallback done) {
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
      std::erase(retiring_, log);
      removals_.push_back({id, std::move(done)});
      change_catalog();
    });
  });
}

void ShardLogsImpl::change_catalog() {
  if (changing_catalog_) return;
  if (context_.failure) {
    return refuse_changes(Error(ErrorCode::kStorageFailed, context_.failure->message()));
  }
  if (context_.gave_up) return refuse_changes(no_space_to_close());
  if (!removals_.empty() && !removals_wait_ && !removing_) return remove_all();
  if (!creations_.empty()) create_all();
}

// Posted, so that callers' callbacks never run inside the call that found the reason.
void ShardLogsImpl::refuse_changes(const Error& error) {
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

void ShardLogsImpl::create_all() {
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
        if (!made && io::is_final(made.error())) fail_directory(made.error());
        for (std::size_t i = 0; i < creations->size(); ++i) {
          finish_creation(std::move((*creations)[i]),
                          made ? Result<std::uint32_t>((*made)[i]) : fail(made.error()));
        }
        change_catalog();
      });
}

void ShardLogsImpl::finish_creation(Creation creation, const Result<std::uint32_t>& incarnation) {
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

// The catalog says that they go, then their files go, one log after the other, where nothing else
// waits for them, then the catalog forgets them.
void ShardLogsImpl::remove_all() {
  changing_catalog_ = removing_ = true;
  auto round = std::make_shared<RemovalRound>();
  round->removals = std::exchange(removals_, {});
  std::vector<Catalog::Change> marked;
  for (const Removal& removal : round->removals) {
    marked.push_back({removal.id, ReplicaState::kRemoving});
  }
  apply_to_catalog(std::move(marked), [this, round](const Result<>& applied) {
    changing_catalog_ = false;
    if (applied) {
      remove_files(round);
    } else {
      end_removals(round, applied);
    }
    change_catalog();
  });
}

void ShardLogsImpl::remove_files(const RemovalRoundPtr& round) {
  if (context_.failure || round->gone == round->removals.size()) return strike_out(round, {});
  context_.run_removal<void>(
      [this, id = round->removals[round->gone].id, stop = removal_stop_.get_token()] {
        return directories_.remove(id, stop);
      },
      [this, round](const Result<>& removed) {
        if (!removed) return strike_out(round, removed);
        ++round->gone;
        remove_files(round);
      });
}

// `result`: of the one that was removed last.
void ShardLogsImpl::strike_out(const RemovalRoundPtr& round, const Result<>& result) {
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
void ShardLogsImpl::end_removals(const RemovalRoundPtr& round, const Result<>& result) {
  removing_ = false;
  const bool stopped = !result && result.error().code() == ErrorCode::kDraining;
  const bool later = !result && !stopped && !io::is_final(result.error());
  if (!result && !stopped && !later) {
    fail_directory(result.error());
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
  change_catalog();
}

void ShardLogsImpl::apply_to_catalog(std::vector<Catalog::Change> changes,
                                     std::move_only_function<void(Result<>)> then) {
  context_.run_blocking<void>(
      [this, changes = std::move(changes)]() -> Result<> {
        if (const auto applied = catalog_.apply(changes); !applied) return fail(applied.error());
        return {};
      },
      std::move(then));
}

// A removal ends as a removal, so that no new life of a partition begins beside files of the old.
void ShardLogsImpl::remove_later(std::vector<Removal> removals) {
  std::ranges::move(removals, std::back_inserter(removals_));
  removals_wait_ = true;
  check_space();
  if (!context_.gives_up()) {
    context_.environment.executor->run_after(kFullRetryAfter,
                                             [this, alive = std::weak_ptr<bool>(context_.alive)] {
                                               if (alive.expired()) return;
                                               removals_wait_ = false;
                                               change_catalog();
                                             });
  }
  change_catalog();
}

void ShardLogsImpl::fail_directory(const Error& error) {
  if (context_.failure) return;
  context_.failure = error;
  journal_.stop();
  if (failure_.report(error)) {
    log_error(fmt::format("{} failed and takes no more records: {}", context_.paths.root,
                          error.to_string()));
  }
  for (const auto& [id, log] : logs_) log->failed(error);
  for (const auto& log : std::vector(retiring_)) log->failed(error);
  change_catalog();
  end_close(fail(error));
}

void ShardLogsImpl::journal_wants_space(std::uint64_t sequence, bool full) {
  for (const auto& [id, log] : logs_) {
    const auto oldest = Journal::oldest_unstable(*log);
    if (oldest && *oldest <= sequence) log->destage(full);
  }
}

void ShardLogsImpl::journal_lacks_space(int writes) {
  context_.short_of_space += writes - std::exchange(journal_lacking_, writes);
  if (writes > 0) context_.gives_up();
  check_space();
}

void ShardLogsImpl::set_space(const io::FileSystem::Space& space) {
  const double share =
      context_.options.free_space_ratio_min * static_cast<double>(space.total_bytes);
  const auto least =
      std::max(static_cast<std::uint64_t>(share), context_.options.free_space_bytes_min);
  const bool low = space.free_bytes < least;
  if (low != context_.space_low) {
    log_warning(fmt::format("{}: {} bytes free, {} wanted: appends are {}", context_.paths.root,
                            space.free_bytes, least, low ? "refused" : "taken again"));
  }
  context_.space_low = low;
  context_.free_bytes = space.free_bytes;
}

void ShardLogsImpl::check_space() {
  if (checking_space_) return;
  checking_space_ = true;
  context_.run_blocking<io::FileSystem::Space>(
      [files = context_.files, root = context_.paths.root] { return files->space(root); },
      [this](Result<io::FileSystem::Space> space) {
        checking_space_ = false;
        if (space) set_space(*space);
      });
}

CheckpointContent ShardLogsImpl::checkpoint_content() const {
  CheckpointContent content;
  content.journals.push_back(journal_.checkpoint());
  for (const auto& [id, log] : logs_) content.logs.push_back(log->checkpoint());
  std::ranges::sort(content.logs, {}, &LogCheckpoint::id);
  return content;
}

// Whether both copies on the disk say what is true now.
bool ShardLogsImpl::checkpointed() const {
  return stored_copies_ >= 2 && checkpoint_content() == stored_;
}

void ShardLogsImpl::checkpoint(std::move_only_function<void()> done) {
  checkpoint_waiters_.push_back(std::move(done));
  if (!checkpointing_) start_checkpoint();
}

void ShardLogsImpl::start_checkpoint() {
  checkpointing_ = true;
  auto waiters = std::make_shared<std::vector<std::move_only_function<void()>>>(
      std::move(checkpoint_waiters_));
  checkpoint_waiters_.clear();
  const auto content = std::make_shared<const CheckpointContent>(checkpoint_content());
  context_.run_blocking<void>([this, content] { return checkpoint_file_.store(shard_, *content); },
                              [this, content, waiters](Result<> stored) {
                                checkpointing_ = false;
                                stored_copies_ =
                                    stored && *content == stored_ ? stored_copies_ + 1 : 0;
                                if (!stored) {
                                  if (io::is_final(stored.error()))
                                    return fail_directory(stored.error());
                                  check_space();
                                  if (context_.gives_up()) {
                                    context_.clean = false;  // the last one that was stored counts
                                    if (finishing_close_) end_close({});
                                    return;
                                  }
                                  // Whoever waits needs it stable: they wait for the next one.
                                  for (auto& waiter : *waiters)
                                    checkpoint_waiters_.push_back(std::move(waiter));
                                  return;
                                }
                                if (stored_copies_ == 0) {
                                  stored_ = *content;
                                  stored_copies_ = 1;
                                }
                                for (auto& waiter : *waiters) waiter();
                                if (!checkpoint_waiters_.empty() && !checkpointing_)
                                  start_checkpoint();
                              });
}

void ShardLogsImpl::close(DoneCallback done) {
  context_.closing = true;
  removal_stop_.request_stop();
  close_done_ = std::move(done);
  if (context_.failure) {
    context_.environment.executor->post(
        [done = std::exchange(close_done_, nullptr), error = *context_.failure]() mutable {
          done(fail(error));
        });
  }
}

void ShardLogsImpl::drive_close() {
  // A start that moves up takes two checkpoints: the store may go only when nobody writes one any
  // more.
  if (finishing_close_ || changing_catalog_ || removing_ || checkpointing_) return;
  if (context_.gave_up) return give_up();
  if (!checkpoint_waiters_.empty()) return start_checkpoint();  // the last one found no space
  if (!journal_.idle() || !leaving_.empty()) return;
  // Logs that only were to make room stay in the journal, however many they are.
  destager_.drop_waiting();
  bool rest = destager_.idle() && remover_.idle();
  for (const auto& [id, log] : logs_) {
    if (log->at_rest(context_.options.destage_bytes)) continue;
    rest = false;
    if (!log->destaging()) log->destage();
  }
  if (!rest) return;
  finishing_close_ = true;
  journal_.stop();
  finish_close();
}

void ShardLogsImpl::give_up() {
  destager_.drop_waiting();
  if (!journal_.stands_still() || !destager_.idle() || !remover_.idle()) return;
  log_warning(
      fmt::format("{}: no space to bring all records to their segments; the journal keeps "
                  "them for the next start",
                  context_.paths.root));
  finishing_close_ = true;
  if (journal_.half_written() || !leaving_.empty()) context_.clean = false;
  journal_.stop();
  checkpoint_waiters_.clear();
  for (const auto& [id, log] : logs_) log->give_up(no_space_to_close());
  for (const auto& log : std::vector(retiring_)) log->give_up(no_space_to_close());
  change_catalog();
  finish_close();
}

void ShardLogsImpl::end_close(const Result<>& result) {
  if (close_done_) std::exchange(close_done_, nullptr)(result);
}

void ShardLogsImpl::finish_close() {
  std::vector<std::shared_ptr<Segment>> unsaved;
  for (const auto& [id, log] : logs_) {
    const auto active = log->target_segments().active();
    if (active && active->index && active->index_saved_at != active->summary.bytes)
      unsaved.push_back(active);
  }
  context_.run_blocking<void>(
      [files = context_.files, unsaved]() -> Result<> {
        for (const auto& segment : unsaved) TIDELOG_TRY(save_index(*files, *segment));
        return {};
      },
      [this](Result<> saved) {
        if (!saved && io::is_final(saved.error())) return fail_directory(saved.error());
        checkpoint([this] { end_close({}); });
      });
}

ShardLogs::Counters ShardLogsImpl::counters() const {
  Counters counters = context_.counters;
  counters.journal_writes = journal_.writes();
  counters.journal_bytes = journal_.write_bytes();
  counters.tail_cache_bytes = tail_cache_.bytes();
  counters.open_segments = open_segments_.count();
  counters.free_bytes = context_.free_bytes;
  counters.failed = context_.failure.has_value();
  counters.short_of_space = context_.space_low || context_.short_of_space > 0;
  counters.undurable_bytes = context_.undurable_bytes;
  return counters;
}

}  // namespace tidelog::log
