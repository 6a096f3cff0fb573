// Lives, faults and ends of a random history; what happens within a life is in
// random_history_steps.cc, what is found after a start in random_history_audit.cc.
#include "tests/log/random_history.h"

#include <fmt/core.h>

#include <algorithm>

namespace tidelog::log {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The least space that a full disk leaves: a start and a few appends fit.
constexpr std::uint64_t kSpaceLeast = 700 << 10;
constexpr std::uint64_t kSpacePlenty = 1ULL << 40;

}  // namespace

HistoryCounts& HistoryCounts::operator+=(const HistoryCounts& other) {
  lives += other.lives;
  power_cuts += other.power_cuts;
  power_cuts_in_recovery += other.power_cuts_in_recovery;
  kills += other.kills;
  clean_stops += other.clean_stops;
  failed_disks += other.failed_disks;
  restarts_on_failed_disks += other.restarts_on_failed_disks;
  batches += other.batches;
  duplicates += other.duplicates;
  truncations += other.truncations;
  trims += other.trims;
  removals += other.removals;
  return *this;
}

std::string HistoryCounts::to_string() const {
  return fmt::format(
      "{} lives, {} power cuts ({} in recovery), {} kills, {} clean stops, {} failed disks ({} "
      "started again without a cut), {} batches, {} duplicates, {} truncations, {} trims, {} "
      "removals",
      lives, power_cuts, power_cuts_in_recovery, kills, clean_stops, failed_disks,
      restarts_on_failed_disks, batches, duplicates, truncations, trims, removals);
}

RandomHistory::RandomHistory(std::uint64_t seed, bool trace)
    : seed_(seed),
      trace_(trace),
      random_(seed),
      disk_(std::make_unique<sim::SimDisk>(random_.next())) {}

RandomHistory::~RandomHistory() = default;

std::string RandomHistory::run() {
  const std::uint64_t lives = random_.between(2, 6);
  while (complaint_.empty() && lives_ < lives) life(false);
  if (complaint_.empty()) life(true);
  if (complaint_.empty()) {
    const auto complaints = checker_.complaints();
    if (!complaints.empty()) complain(complaints.front().to_string());
  }
  harness_.reset();
  return complaint_;
}

void RandomHistory::note(const std::string& step) {
  if (trace_) {
    fmt::print(
        "{:>8} {}\n",
        harness_ ? harness_->executor().clock().now().time_since_epoch() / microseconds(1) : 0,
        step);
  }
}

void RandomHistory::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = fmt::format("life {}: {}", lives_, what);
}

// --- One life.

HarnessOptions RandomHistory::harness_options() {
  HarnessOptions options;
  options.shards = random_.between(1, 2);
  if (random_.one_in(12)) options.shards = 3;
  options.seed = random_.next();
  ShardLogOptions& shard = options.store.shard;
  shard.checkpoint_interval = std::chrono::seconds(1);
  shard.retention_interval = std::chrono::seconds(1);
  shard.journal_bytes_max = (std::uint64_t{64} << 10) << random_.below(3);
  shard.destage_bytes = std::size_t{2048} << random_.below(5);
  shard.index_save_bytes = std::size_t{4096} << random_.below(5);
  if (random_.one_in(4)) shard.tail_cache_bytes = 0;
  if (random_.one_in(4)) shard.open_segments_max = 2;
  const std::uint64_t slow = random_.below(6);
  options.latency = [slow, random = sim::SimRandom(random_.next())](
                        const sim::SimIoOperation& operation) mutable {
    const bool journal = operation.path.contains("/journal/");
    std::uint64_t us = random.between(20, 400);
    if ((slow == 1 && journal) || (slow == 2 && !journal)) us *= 20;
    if (slow == 3 && random.one_in(5)) us *= 100;
    return microseconds(us);
  };
  return options;
}

void RandomHistory::plant_faults() {
  using Operation = sim::DiskOperation;
  using Fault = sim::DiskFault;
  faults_ = false;
  if (random_.one_in(5)) {
    constexpr std::array kFailing = {
        Operation::kWrite,         Operation::kWrite,    Operation::kSync,     Operation::kSync,
        Operation::kSyncDirectory, Operation::kTruncate, Operation::kAllocate, Operation::kRemove,
        Operation::kMakeDirectory, Operation::kOpen,     Operation::kRename};
    const Operation operation = kFailing[random_.below(kFailing.size())];
    const std::uint64_t n = random_.between(1, 40);
    note(fmt::format("input/output error at {} {}", sim::to_string(operation), n));
    disk_->fail_nth(operation, n, Fault::kIoError);
    faults_ = true;
  }
  if (random_.one_in(4)) {
    constexpr std::array kFull = {Operation::kWrite, Operation::kAllocate, Operation::kOpen,
                                  Operation::kMakeDirectory};
    for (std::uint64_t i = random_.between(1, 6); i > 0; --i) {
      const bool descriptor = random_.one_in(3);
      const Operation operation =
          descriptor ? Operation::kOpen : kFull[random_.below(kFull.size())];
      disk_->fail_nth(operation, random_.between(1, 60),
                      descriptor ? Fault::kNoDescriptor : Fault::kNoSpace);
    }
    note("no space, or no descriptors, now and then");
    faults_ = true;
  }
  if (random_.one_in(8)) {
    disk_->limit_space(kSpaceLeast + random_.below(200 << 10));
    note("little space");
    faults_ = true;
  }
  if (random_.one_in(3)) {
    for (int i = 0; i < 4; ++i) {
      disk_->fail_nth(Operation::kWrite, random_.between(1, 80), Fault::kShortWrite);
    }
  }
}

bool RandomHistory::failed() const {
  return harness_ && harness_->running() && harness_->store().failure().has_value();
}

bool RandomHistory::alive() const {
  return complaint_.empty() && !disk_->powered_off() && !failed();
}

bool RandomHistory::expected(const Error& error) const {
  if (disk_->powered_off()) return true;
  if (!faults_) return false;
  return error.code() == ErrorCode::kStorageFull || error.code() == ErrorCode::kOverloaded ||
         error.code() == ErrorCode::kStorageFailed;
}

bool RandomHistory::await(const std::function<bool()>& answered) {
  const auto over = [&] { return answered() || !alive(); };
  sim::SimExecutor& executor = harness_->executor();
  // What waits for space waits until there is some.
  if (!executor.run_until(over, milliseconds(500))) disk_->limit_space(kSpacePlenty);
  if (!executor.run_until(over)) complain("an operation is never answered");
  return alive() && answered();
}

bool RandomHistory::open() {
  harness_ = std::make_unique<LogHarness>(*disk_, unused_, harness_options());
  const auto opened = harness_->open();
  if (opened) return true;
  note("the start fails: " + opened.error().to_string());
  if (!expected(opened.error())) complain("the start fails: " + opened.error().to_string());
  disk_failed_ = opened.error().code() == ErrorCode::kStorageFailed;
  harness_.reset();
  return false;
}

void RandomHistory::life(bool last) {
  ++lives_;
  ++counts_.lives;
  ++epoch_;
  disk_failed_ = started_ = false;
  faults_ = false;
  disk_->limit_space(kSpacePlenty);
  if (!last) {
    plant_faults();
    if (!random_.one_in(4)) disk_->stop_at(random_.between(1, random_.one_in(3) ? 40 : 500));
  }
  End end = random_.one_in(2) ? End::kPowerCut : End::kKill;
  if (open()) {
    note(fmt::format("life {} began", lives_));
    audit();
    started_ = alive();
    for (std::uint64_t steps = random_.between(3, 40); steps > 0 && alive(); --steps) act();
    if (last) {
      for (const auto& [id, partition] : partitions_) {
        append_to(*partition);
        wait_durable(*partition);
      }
      audit();
    }
    if (alive() && random_.one_in(3)) {
      stop_cleanly();
      end = End::kCleanStop;
    }
    for (const auto& [id, partition] : partitions_) take_acknowledgements(*partition);
    disk_failed_ = disk_failed_ || failed();
  }
  if (!complaint_.empty() || last) return;
  if (disk_->powered_off()) {
    end = End::kPowerCut;
  } else if (disk_failed_) {
    end = end_on_failed_disk();
  }
  next_disk(end);
}

RandomHistory::End RandomHistory::end_on_failed_disk() {
  ++counts_.failed_disks;
  if (random_.one_in(2)) return End::kPowerCut;
  ++counts_.restarts_on_failed_disks;
  if (failed() && random_.one_in(2)) {
    note("a stop on the failed disk");
    if (harness_->stop_cleanly()) complain("a stop on a failed disk is a clean one");
  }
  return disk_->powered_off() ? End::kPowerCut : End::kKill;
}

sim::CrashPolicy RandomHistory::some_policy() {
  const std::size_t changes = disk_->unsynced_changes();
  switch (random_.below(8)) {
    case 0:
      return sim::CrashPolicy::nothing();
    case 1:
      return sim::CrashPolicy::everything();
    case 2:
      return random_.one_in(2) ? sim::CrashPolicy::data_only() : sim::CrashPolicy::names_only();
    case 3:
      return sim::CrashPolicy::only(random_.below(changes + 1));
    case 4:
      return sim::CrashPolicy::all_but(random_.below(changes + 1));
    default:
      return sim::CrashPolicy::random(random_.next());
  }
}

void RandomHistory::next_disk(End end) {
  if (end == End::kPowerCut || (end == End::kCleanStop && random_.one_in(2))) {
    const sim::CrashPolicy policy = some_policy();
    note(fmt::format("the power goes: {}; {}", disk_->stopped_by(), policy.to_string()));
    ++counts_.power_cuts;
    counts_.power_cuts_in_recovery += started_ ? 0 : 1;
    disk_->power_off();
    auto found = disk_->crash_image(policy);
    harness_.reset();
    disk_ = std::move(found);
    return;
  }
  note("the process ends");
  ++counts_.kills;
  disk_->power_off();
  auto found = disk_->kill_image(random_.one_in(2) ? sim::CrashPolicy::everything()
                                                   : sim::CrashPolicy::random(random_.next()));
  harness_.reset();
  disk_ = std::move(found);
}

}  // namespace tidelog::log
