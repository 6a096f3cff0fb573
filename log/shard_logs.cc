#include "log/shard_logs.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/logging.h"
#include "log/io/storage_error.h"

namespace tidelog::log {
ShardLogsImpl::ShardLogsImpl(
    Parts parts, const std::function<PartitionLogSettings(const TopicPartition&)>& settings_of)
    : shard_(parts.shard),
      checkpoint_file_(*parts.checkpoint),
      failure_(*parts.failure),
      tail_cache_(parts.options.tail_cache_bytes),
      open_segments_(parts.options.open_segments_max),
      cold_reader_(context_),
      destager_(context_),
      remover_(context_),
      journal_(parts.environment, *parts.files, parts.paths, parts.options,
               std::move(parts.journal), *this),
      changes_(context_, *parts.directories, *parts.catalog, logs_) {
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
  for (const auto& log : changes_.retiring()) log->drop_retirement();
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
  changes_.create(id, settings, std::move(done));
}

void ShardLogsImpl::remove(const TopicPartition& id, DoneCallback done) {
  changes_.remove(id, std::move(done));
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
  for (const auto& log : std::vector(changes_.retiring())) log->failed(error);
  changes_.proceed();
  end_close(fail(error));
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
  for (const auto& log : changes_.retiring()) content.logs.push_back(log->checkpoint());
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
  changes_.stop_removing();
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
  if (finishing_close_ || changes_.under_way() || checkpointing_) return;
  if (context_.gave_up) return give_up();
  if (!checkpoint_waiters_.empty()) return start_checkpoint();  // the last one found no space
  if (!journal_.idle() || changes_.any_leaving()) return;
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
  if (journal_.half_written() || changes_.any_leaving()) context_.clean = false;
  journal_.stop();
  checkpoint_waiters_.clear();
  for (const auto& [id, log] : logs_) log->give_up(no_space_to_close());
  for (const auto& log : std::vector(changes_.retiring())) log->give_up(no_space_to_close());
  changes_.proceed();
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
