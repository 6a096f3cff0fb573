// What a start found, against what the history knows.
#include <fmt/core.h>

#include <algorithm>

#include "base/checksum.h"
#include "log/inspect.h"
#include "tests/log/random_history.h"

namespace tidelog::log {

void RandomHistory::audit() {
  for (auto at = partitions_.begin(); at != partitions_.end() && alive();) {
    HistoryPartition& partition = *at->second;
    if (harness_->find(partition.id) != nullptr) {
      audit_partition(partition);
      ++at;
      continue;
    }
    if (partition.created && !partition.removing) {
      return complain(fmt::format("{} is gone", partition.name));
    }
    note(fmt::format("{} is not there", partition.name));
    checker_.may_trim(partition.name, INT64_MAX);
    at = partitions_.erase(at);
  }
  for (PartitionLog* log : alive() ? harness_->all() : std::vector<PartitionLog*>()) {
    if (!partitions_.contains(log->id())) {
      complain(fmt::format("{} was removed and is there", log->id().to_string()));
    }
  }
  if (alive()) audit_files();
}

// Where nothing was damaged, `log verify` finds nothing.
void RandomHistory::audit_files() {
  const auto found = disk_->crash_image(sim::CrashPolicy::everything());
  const auto report = verify_path(*found, "data");
  if (!report) return complain("log verify: " + report.error().to_string());
  for (const std::string& problem : report->problems) complain("log verify: " + problem);
  for (const PartitionReport& partition : report->partitions) {
    for (const std::string& problem : partition.problems) {
      complain(fmt::format("log verify: {}: {}", partition.path, problem));
    }
  }
}

void RandomHistory::audit_partition(HistoryPartition& partition) {
  PartitionLog& log = *harness_->find(partition.id);
  const Offset start = log.log_start();
  const Offset end = log.log_end();
  note(fmt::format("{} holds {} to {}, {} was acknowledged", partition.name, start.value(),
                   end.value(), partition.acknowledged.value()));
  if (log.health() != LogHealth::kSound) {
    std::string problems;
    for (const auto& problem : harness_->store().recovery().problems) problems += "; " + problem;
    return complain(fmt::format("{} is not sound{}", partition.name, problems));
  }
  const Offset start_max =
      partition.retained ? std::max(partition.start_max, partition.heard) : partition.start_max;
  if (start < partition.start || start > start_max) {
    return complain(fmt::format("{} begins at {}, not from {} to {}", partition.name, start.value(),
                                partition.start.value(), start_max.value()));
  }
  if (partition.cutting && end <= *partition.cutting) {
    checker_.cut(partition.name, partition.cutting->value());
    partition.batches.erase(partition.batches.lower_bound(*partition.cutting),
                            partition.batches.end());
    partition.acknowledged = std::min(partition.acknowledged, *partition.cutting);
    partition.position = std::min(partition.position, *partition.cutting);
    partition.new_producer();
  }
  partition.cutting.reset();
  if (end < partition.acknowledged) {
    return complain(fmt::format("{} ends at {}, {} was acknowledged", partition.name, end.value(),
                                partition.acknowledged.value()));
  }
  audit_records(partition, log);
  if (!alive()) return;
  // What is not there now never comes back, but as something that is sent anew.
  const auto first = partition.batches.lower_bound(end);
  for (auto at = first; at != partition.batches.end(); ++at) {
    for (const std::string& value : at->second.values) {
      if (!at->second.idempotent) static_cast<void>(checker_.failed(value));
    }
  }
  partition.batches.erase(first, partition.batches.end());
  for (HistoryPartition::Pending& pending : partition.producer.pending) pending.appended = false;
  partition.created = true;
  partition.removing = false;
  partition.start = start;
  partition.start_max = start;
  partition.heard = end;
  listen(partition);
  take_acknowledgements(partition);
}

void RandomHistory::audit_records(HistoryPartition& partition, PartitionLog& log) {
  const std::string auditor = fmt::format("auditor {}", lives_);
  Offset start = log.log_start();
  const Offset end = log.log_end();
  auto held = harness_->read_all(partition.id, start, end);
  // Descriptors may be short for a while, and retention goes on.
  for (int attempt = 0; attempt < 10 && !held && alive(); ++attempt) {
    if (log.log_start() == start && !expected(held.error())) break;
    start = log.log_start();
    held = harness_->read_all(partition.id, start, end);
  }
  if (!alive()) return;
  if (!held) return complain(fmt::format("{}: {}", partition.name, held.error().to_string()));
  checker_.may_trim(partition.name, start.value());
  checker_.assign(auditor, partition.name, start.value());
  LeaderEpoch epoch(-1);
  for (std::span<const std::byte> rest = *held; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, rest.size());
    if (!batch) return complain(batch.error().to_string());
    rest = rest.subspan(batch->size());
    const auto appended = partition.batches.find(batch->base_offset());
    if (appended == partition.batches.end() ||
        appended->second.checksum != xxh3_64(batch->bytes())) {
      return complain(fmt::format("{} holds a batch at {} that nobody appended there",
                                  partition.name, batch->base_offset().value()));
    }
    if (batch->leader_epoch() < epoch) {
      return complain(fmt::format("{}: the epoch goes back at {}", partition.name,
                                  batch->base_offset().value()));
    }
    epoch = batch->leader_epoch();
    const auto names = names_in(*batch);
    if (!names) return complain(names.error().to_string());
    Offset at = batch->base_offset();
    for (const std::string& name : *names) {
      if (at >= start) checker_.polled(auditor, partition.name, at.value(), name);
      ++at;
    }
  }
  if (!held->empty() && log.last_epoch() != epoch) {
    return complain(fmt::format("{} says that its last epoch is {}, not {}", partition.name,
                                log.last_epoch().value(), epoch.value()));
  }
  checker_.ended(partition.name, end.value());
  if (!checker_.clean()) complain(checker_.complaints().front().to_string());
}

}  // namespace tidelog::log
