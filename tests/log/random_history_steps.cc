// What producers, consumers and operators do within a life of a random history.
#include <fmt/core.h>

#include <algorithm>

#include "base/checksum.h"
#include "tests/log/random_history.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kPartitionsMax = 6;

bool passes(ErrorCode code) {
  return code == ErrorCode::kStorageFull || code == ErrorCode::kOverloaded;
}

// The stamped batch that was appended at `base`, for comparisons.
std::uint64_t checksum_at(PartitionLog& log, Offset base) {
  const ReadLimits limits{.up_to = log.log_end(), .bytes_max = 1, .at_least_one = true};
  const auto stamped = log.read_tail(base, limits);
  return xxh3_64((*stamped)->pieces.front().bytes());
}

}  // namespace

void RandomHistory::act() {
  const std::uint64_t dice = random_.below(100);
  HistoryPartition* partition = some_partition();
  if (partition == nullptr || dice < 4) {
    create();
  } else if (dice < 40) {
    append();
  } else if (dice < 52) {
    harness_->pass(milliseconds(random_.below(4)));
  } else if (dice < 57) {
    harness_->pass(milliseconds(random_.between(40, 120)));
  } else if (dice < 60) {
    harness_->pass(milliseconds(1100));
  } else if (dice < 70) {
    wait_durable(*partition);
  } else if (dice < 80) {
    consume(*partition);
  } else if (dice < 86) {
    truncate(*partition);
  } else if (dice < 91) {
    trim(*partition);
  } else if (dice < 94) {
    change_settings(*partition);
  } else if (dice < 97) {
    send_again(*partition);
  } else {
    remove(*partition);
  }
}

HistoryPartition* RandomHistory::some_partition() {
  if (partitions_.empty()) return nullptr;
  return std::next(partitions_.begin(),
                   static_cast<std::ptrdiff_t>(random_.below(partitions_.size())))
      ->second.get();
}

std::size_t RandomHistory::some_bytes() {
  switch (random_.below(8)) {
    case 0:
      return random_.between(4000, 15000);
    case 1:
    case 2:
      return random_.between(500, 4200);
    default:
      return random_.between(1, 300);
  }
}

void RandomHistory::listen(HistoryPartition& partition) {
  PartitionLog* log = harness_->find(partition.id);
  log->set_checkpointed_high_watermark(log->durable_end());
  log->on_durable([this, &partition, log](Offset end) {
    note(fmt::format("{} is durable to {}", partition.name, end.value()));
    partition.heard = std::max(partition.heard, end);
    log->set_checkpointed_high_watermark(end);
  });
}

// Tells the checker, and the producer, what the listener heard.
void RandomHistory::take_acknowledgements(HistoryPartition& partition) {
  for (auto at = partition.batches.lower_bound(partition.acknowledged);
       at != partition.batches.end() && at->second.next <= partition.heard; ++at) {
    std::int64_t offset = at->first.value();
    for (const std::string& value : at->second.values) {
      static_cast<void>(checker_.acknowledged(partition.name, offset++, value));
    }
    partition.acknowledged = at->second.next;
  }
  auto& pending = partition.producer.pending;
  while (!pending.empty() && pending.front().appended && pending.front().next <= partition.heard) {
    const Offset base =
        pending.front().next - static_cast<std::int64_t>(pending.front().batch.values.size());
    partition.producer.last.emplace(std::move(pending.front().batch), base);
    pending.pop_front();
  }
}

// --- Producers.

void RandomHistory::append() {
  for (std::uint64_t count = random_.between(1, 12); count > 0 && alive(); --count) {
    append_to(*some_partition());
    if (random_.one_in(3))
      harness_->executor().run_for(std::chrono::microseconds(random_.below(600)));
  }
}

void RandomHistory::append_to(HistoryPartition& partition) {
  if (!alive() || partition.cutting) return;
  take_acknowledgements(partition);
  if (random_.one_in(2)) return append_plain(partition, some_bytes());
  auto& producer = partition.producer;
  if (producer.pending.size() < 5) {
    const ProducerIdentity identity{producer.id, 0, producer.next_sequence};
    HistoryPartition::Pending pending{
        make_named_batch(partition.id, fmt::format("{}.{}", producer.name, partition.sent++),
                         identity, some_bytes(), random_),
        false, Offset(0)};
    producer.next_sequence += static_cast<std::int32_t>(pending.batch.values.size());
    for (const std::string& value : pending.batch.values) {
      static_cast<void>(checker_.send(producer.name, value));
    }
    producer.pending.push_back(std::move(pending));
  }
  pump(partition);
}

void RandomHistory::append_plain(HistoryPartition& partition, std::size_t bytes) {
  const std::string producer = partition.name + "/p";
  const MadeBatch made = make_named_batch(
      partition.id, fmt::format("{}.{}", producer, partition.sent++), {}, bytes, random_);
  for (const std::string& value : made.values) {
    static_cast<void>(checker_.send(producer, value));
  }
  PartitionLog& log = *harness_->find(partition.id);
  const auto appended = log.append(made.bytes, LeaderEpoch(epoch_));
  if (appended) {
    ++counts_.batches;
    partition.batches[appended->base_offset] = {
        appended->next_offset, checksum_at(log, appended->base_offset), made.values, false};
    return;
  }
  for (const std::string& value : made.values) static_cast<void>(checker_.failed(value));
  const ErrorCode code = appended.error().code();
  if (!passes(code) && code != ErrorCode::kBatchTooLarge) {
    complain(fmt::format("{} takes no records: {}", partition.name, appended.error().to_string()));
  }
}

// Sends what is pending, in order, until something is refused for a while.
void RandomHistory::pump(HistoryPartition& partition) {
  PartitionLog& log = *harness_->find(partition.id);
  for (HistoryPartition::Pending& pending : partition.producer.pending) {
    if (pending.appended) continue;
    const auto appended = log.append(pending.batch.bytes, LeaderEpoch(epoch_));
    if (!appended) {
      const ErrorCode code = appended.error().code();
      if (code == ErrorCode::kBatchTooLarge) return partition.new_producer();
      if (!passes(code)) {
        complain(fmt::format("{} refuses what its producer sends in order: {}", partition.name,
                             appended.error().to_string()));
      }
      return;
    }
    pending.appended = true;
    pending.next = appended->next_offset;
    if (!appended->duplicate) {
      ++counts_.batches;
      partition.batches[appended->base_offset] = {appended->next_offset,
                                                  checksum_at(log, appended->base_offset),
                                                  pending.batch.values, true};
      continue;
    }
    ++counts_.duplicates;
    const auto there = partition.batches.find(appended->base_offset);
    if (there == partition.batches.end() || there->second.values != pending.batch.values) {
      complain(fmt::format("{} says that a batch is at {} already, where it is not", partition.name,
                           appended->base_offset.value()));
    }
  }
}

// A packet that was under way for long: the batch is there already.
void RandomHistory::send_again(HistoryPartition& partition) {
  if (!partition.producer.last) return;
  const auto& [batch, base] = *partition.producer.last;
  const auto answer = harness_->find(partition.id)->append(batch.bytes, LeaderEpoch(epoch_));
  if (!answer) {
    if (!passes(answer.error().code())) complain("sent again: " + answer.error().to_string());
    return;
  }
  ++counts_.duplicates;
  if (!answer->duplicate || answer->base_offset != base) {
    complain(fmt::format("{}: a batch at {} was sent again and is at {}", partition.name,
                         base.value(), answer->base_offset.value()));
  }
}

void RandomHistory::wait_durable(HistoryPartition& partition) {
  PartitionLog* log = harness_->find(partition.id);
  if (!await([&] { return log->durable_end() == log->log_end(); })) return;
  harness_->pass(milliseconds(0));  // callbacks run as tasks of their own
  if (partition.heard != log->log_end() && alive()) {
    complain(fmt::format("{} is durable up to {} and said {}", partition.name,
                         log->log_end().value(), partition.heard.value()));
  }
  take_acknowledgements(partition);
}

// --- Consumers.

void RandomHistory::consume(HistoryPartition& partition) {
  take_acknowledgements(partition);
  PartitionLog& log = *harness_->find(partition.id);
  if (partition.position < log.log_start()) {
    partition.position = log.log_start();
    checker_.assign("consumer", partition.name, partition.position.value());
  }
  const Offset end = std::min(partition.acknowledged, partition.position + random_.between(1, 60));
  const Offset from = partition.position;
  if (from >= end) return;
  const auto read = harness_->read_all(partition.id, from, partition.acknowledged);
  if (!alive()) return;
  if (!read) {
    const bool passed_by = log.log_start() > from;  // retention
    if (!passed_by && !expected(read.error())) complain("a consumer: " + read.error().to_string());
    return;
  }
  for (std::span<const std::byte> rest = *read; !rest.empty() && partition.position < end;) {
    const auto batch = wire::BatchView::parse(rest, rest.size());
    const auto names = batch ? names_in(*batch) : fail(batch.error());
    if (!names) return complain("a consumer: " + names.error().to_string());
    rest = rest.subspan(batch->size());
    Offset at = batch->base_offset();
    for (const std::string& name : *names) {
      if (at >= partition.position) checker_.polled("consumer", partition.name, at.value(), name);
      ++at;
    }
    partition.position = batch->next_offset();
  }
  if (!checker_.clean()) complain(checker_.complaints().front().to_string());
}

// --- Operators.

void RandomHistory::truncate(HistoryPartition& partition) {
  PartitionLog* log = harness_->find(partition.id);
  if (log->log_start() >= log->log_end()) return;
  const auto count = static_cast<std::uint64_t>(log->log_end() - log->log_start());
  const Offset offset = log->log_start() + static_cast<std::int64_t>(random_.below(count));
  const Offset cut = partition.batch_at(offset);
  partition.cutting = cut;
  note(fmt::format("{} is cut at {}", partition.name, cut.value()));
  auto answer = std::make_shared<std::optional<Result<>>>();
  log->truncate(offset, [answer](Result<> result) { *answer = std::move(result); });
  if (random_.one_in(2)) append();  // to others
  if (!await([&] { return answer->has_value(); })) return;
  note(fmt::format("cut: {}", **answer ? "done" : (*answer)->error().to_string()));
  if (!**answer) {
    // The cut falls into the batch that holds the log's start, or the disk is full.
    const ErrorCode code = (*answer)->error().code();
    if (code != ErrorCode::kOffsetOutOfRange && !expected((*answer)->error())) {
      complain("a truncation: " + (*answer)->error().to_string());
    }
    partition.cutting.reset();
    return;
  }
  ++counts_.truncations;
  ++epoch_;
  if (log->log_end() != cut) {
    return complain(fmt::format("{} was cut at {} and ends at {}", partition.name, cut.value(),
                                log->log_end().value()));
  }
  partition.batches.erase(partition.batches.lower_bound(cut), partition.batches.end());
  partition.heard = cut;
  partition.acknowledged = std::min(partition.acknowledged, cut);
  checker_.cut(partition.name, cut.value());
  partition.cutting.reset();
  partition.position = std::min(partition.position, cut);
  partition.new_producer();
  take_acknowledgements(partition);
}

void RandomHistory::trim(HistoryPartition& partition) {
  PartitionLog* log = harness_->find(partition.id);
  if (log->log_start() >= log->durable_end()) return;
  const auto count = static_cast<std::uint64_t>(log->durable_end() - log->log_start());
  const Offset offset = log->log_start() + static_cast<std::int64_t>(random_.between(1, count));
  note(fmt::format("{} is trimmed to {}", partition.name, offset.value()));
  partition.start_max = std::max(partition.start_max, offset);
  auto answer = std::make_shared<std::optional<Result<>>>();
  log->trim(offset, [answer](Result<> result) { *answer = std::move(result); });
  if (random_.one_in(2)) append();
  if (!await([&] { return answer->has_value(); })) return;
  if (!**answer) {
    if (!expected((*answer)->error())) complain("a trim: " + (*answer)->error().to_string());
    return;
  }
  ++counts_.trims;
  partition.start = std::max(partition.start, offset);
  if (log->log_start() < offset) {
    complain(fmt::format("{} was trimmed to {} and begins at {}", partition.name, offset.value(),
                         log->log_start().value()));
  }
  checker_.may_trim(partition.name, log->log_start().value());
}

void RandomHistory::change_settings(HistoryPartition& partition) {
  PartitionLogSettings& settings = partition.settings;
  settings = HarnessOptions::small_settings();
  settings.segment_bytes = std::uint64_t{8192} << random_.below(5);
  if (random_.one_in(3)) settings.retention_bytes = static_cast<std::int64_t>(random_.below(60000));
  if (random_.one_in(3)) settings.segment_ms = static_cast<std::int64_t>(random_.below(1500));
  if (random_.one_in(4)) settings.retention_ms = static_cast<std::int64_t>(random_.below(3000));
  partition.retained =
      partition.retained || settings.retention_bytes >= 0 || settings.retention_ms >= 0;
  note(fmt::format("{}: segments of {} bytes, {} ms; retention {} bytes, {} ms", partition.name,
                   settings.segment_bytes, settings.segment_ms, settings.retention_bytes,
                   settings.retention_ms));
  harness_->find(partition.id)->change_settings(settings);
}

void RandomHistory::create() {
  if (partitions_.size() >= kPartitionsMax) return;
  const TopicPartition id = partition_of(static_cast<std::uint8_t>(random_.between(1, 4)),
                                         static_cast<std::int32_t>(random_.below(2)));
  if (partitions_.contains(id)) return;
  auto made = std::make_unique<HistoryPartition>();
  HistoryPartition& partition = *made;
  partition.id = id;
  partition.name = fmt::format("{}-{}.{}", id.topic.bytes[0], id.partition.value(), ++names_);
  partition.settings = HarnessOptions::small_settings();
  partition.new_producer();
  partitions_[id] = std::move(made);
  note("create " + partition.name);
  for (int attempt = 0; alive(); ++attempt) {
    auto answer = std::make_shared<std::optional<Result<PartitionLog*>>>();
    harness_->shard_of(id).create(
        id, partition.settings, [answer](Result<PartitionLog*> log) { *answer = std::move(log); });
    if (!await([&] { return answer->has_value(); })) return;
    if (**answer) break;
    if (!passes((*answer)->error().code())) {
      if (!expected((*answer)->error())) complain("a creation: " + (*answer)->error().to_string());
      return;
    }
    if (attempt > 2) disk_->limit_space(1ULL << 40);
    if (attempt > 20) return complain("a creation is refused for ever");
    harness_->pass(milliseconds(100));
  }
  if (!alive()) return;
  partition.created = true;
  listen(partition);
}

void RandomHistory::remove(HistoryPartition& partition) {
  note("remove " + partition.name);
  take_acknowledgements(partition);
  partition.removing = true;
  const TopicPartition id = partition.id;
  auto answer = std::make_shared<std::optional<Result<>>>();
  harness_->shard_of(id).remove(id, [answer](Result<> result) { *answer = std::move(result); });
  if (!await([&] { return answer->has_value(); })) return;
  if (!**answer) return complain("a removal: " + (*answer)->error().to_string());
  ++counts_.removals;
  checker_.may_trim(partition.name, INT64_MAX);
  partitions_.erase(id);
}

void RandomHistory::stop_cleanly() {
  note("a clean stop");
  const bool stopped = harness_->stop_cleanly();
  for (const auto& [id, partition] : partitions_) take_acknowledgements(*partition);
  if (stopped) {
    ++counts_.clean_stops;
  } else if (!disk_->powered_off() && !faults_) {
    complain("a clean stop does not end");
  } else if (!disk_->powered_off()) {
    disk_failed_ = true;
  }
}

}  // namespace tidelog::log
