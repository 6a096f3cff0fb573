#include "tests/history/history.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace tidelog::history {

std::string_view to_string(Anomaly anomaly) {
  switch (anomaly) {
    case Anomaly::kLostWrite:
      return "lost write";
    case Anomaly::kUnseenRecord:
      return "unseen record";
    case Anomaly::kDuplicate:
      return "duplicate";
    case Anomaly::kInconsistentOffsets:
      return "inconsistent offsets";
    case Anomaly::kAbortedRead:
      return "aborted read";
    case Anomaly::kNeverSent:
      return "never sent";
    case Anomaly::kNonMonotonicPoll:
      return "non-monotonic poll";
    case Anomaly::kSkippedPoll:
      return "skipped poll";
    case Anomaly::kNonMonotonicSend:
      return "non-monotonic send";
  }
  return "unknown";
}

std::string Complaint::to_string() const {
  return fmt::format("{}: {}", history::to_string(anomaly), what);
}

void Checker::complain(Anomaly anomaly, const std::string& partition, std::int64_t offset,
                       std::string what) {
  found_.push_back({anomaly, partition, offset, std::move(what)});
}

Checker::Record& Checker::record_of(const std::string& value) {
  const auto [it, fresh] = record_ids_.try_emplace(value, records_.size());
  if (fresh) records_.push_back({.value = value, .partition = {}});
  return records_[it->second];
}

// --- Producers.

Result<> Checker::send(const std::string& producer, const std::string& value) {
  Record& record = record_of(value);
  if (record.sent && !record.gone) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is sent a second time: values name records", value));
  }
  const auto [it, fresh] = producer_ids_.try_emplace(producer, producers_.size());
  if (fresh) producers_.push_back(producer);
  record.producer = it->second;
  record.order = sends_++;
  record.sent = true;
  record.gone = false;
  return {};
}

Result<> Checker::acknowledged(const std::string& partition, std::int64_t offset,
                               const std::string& value) {
  if (!record_of(value).sent) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is acknowledged, but nobody sent it", value));
  }
  Place* at = place(partition, offset, value);
  if (at == nullptr) return {};
  at->acknowledged = true;
  at->required = offset >= partitions_[partition].trimmed;
  return {};
}

Result<> Checker::failed(const std::string& value) {
  Record& record = record_of(value);
  if (!record.sent) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' failed, but nobody sent it", value));
  }
  if (record.offset >= 0) {
    complain(Anomaly::kAbortedRead, record.partition, record.offset,
             fmt::format("'{}' lies at {} offset {}, but its producer was told that it failed",
                         value, record.partition, record.offset));
  }
  record.gone = true;
  return {};
}

Checker::Place* Checker::place(const std::string& partition, std::int64_t offset,
                               const std::string& value) {
  Record& record = record_of(value);
  const RecordId id = record_ids_.at(value);
  Place& at = partitions_[partition].places[offset];
  if (at.record != kNone && at.record != id) {
    complain(Anomaly::kInconsistentOffsets, partition, offset,
             fmt::format("{} offset {} holds '{}' and '{}'", partition, offset,
                         records_[at.record].value, value));
    return nullptr;
  }
  if (at.record == id) return &at;
  at.record = id;
  if (!record.sent) {
    complain(Anomaly::kNeverSent, partition, offset,
             fmt::format("{} offset {} holds '{}', which nobody sent", partition, offset, value));
  } else if (record.gone) {
    complain(Anomaly::kAbortedRead, partition, offset,
             fmt::format("{} offset {} holds '{}', which failed or was cut off", partition, offset,
                         value));
  }
  if (record.offset >= 0) {
    complain(Anomaly::kDuplicate, partition, offset,
             fmt::format("'{}' lies at {} offset {} and at {} offset {}", value, record.partition,
                         record.offset, partition, offset));
  } else {
    record.partition = partition;
    record.offset = offset;
  }
  return &at;
}

// --- Consumers.

void Checker::assign(const std::string& consumer, const std::string& partition,
                     std::int64_t position) {
  partitions_[partition].positions[consumer] = position;
}

void Checker::polled(const std::string& consumer, const std::string& name, std::int64_t offset,
                     const std::string& value) {
  Partition& partition = partitions_[name];
  auto [position, first] = partition.positions.try_emplace(consumer, offset);
  if (offset < position->second) {
    complain(Anomaly::kNonMonotonicPoll, name, offset,
             fmt::format("{} was given {} offset {} when it was at {}", consumer, name, offset,
                         position->second));
  } else {
    if (offset > position->second) {
      partition.gaps.push_back({consumer, position->second, offset});
    }
    cover(partition, position->second, offset + 1);
  }
  position->second = offset + 1;
  if (Place* at = place(name, offset, value)) at->seen = true;
}

void Checker::ended(const std::string& name, std::int64_t end) {
  Partition& partition = partitions_[name];
  for (auto at = partition.places.lower_bound(end); at != partition.places.end(); ++at) {
    if (!at->second.acknowledged || !at->second.required) continue;
    complain(Anomaly::kLostWrite, name, at->first,
             fmt::format("'{}' was acknowledged at {} offset {}, the log ends at {}",
                         records_[at->second.record].value, name, at->first, end));
  }
}

void Checker::cover(Partition& partition, std::int64_t begin, std::int64_t end) {
  auto next = partition.read.upper_bound(begin);
  if (next != partition.read.begin() && std::prev(next)->second >= begin) --next;
  while (next != partition.read.end() && next->first <= end) {
    begin = std::min(begin, next->first);
    end = std::max(end, next->second);
    next = partition.read.erase(next);
  }
  partition.read[begin] = end;
}

bool Checker::covered(const Partition& partition, std::int64_t offset) {
  const auto next = partition.read.upper_bound(offset);
  return next != partition.read.begin() && std::prev(next)->second > offset;
}

// --- What may go.

void Checker::may_trim(const std::string& name, std::int64_t offset) {
  Partition& partition = partitions_[name];
  partition.trimmed = std::max(partition.trimmed, offset);
  const auto end = partition.places.lower_bound(offset);
  for (auto at = partition.places.begin(); at != end; ++at) at->second.required = false;
}

void Checker::may_cut(const std::string& name, std::int64_t offset) {
  Partition& partition = partitions_[name];
  for (auto at = partition.places.lower_bound(offset); at != partition.places.end(); ++at) {
    at->second.required = false;
  }
}

void Checker::cut(const std::string& name, std::int64_t offset) {
  Partition& partition = partitions_[name];
  const auto first = partition.places.lower_bound(offset);
  for (auto at = first; at != partition.places.end(); ++at) {
    if (at->second.record == kNone) continue;
    Record& record = records_[at->second.record];
    record.gone = true;
    record.offset = -1;
  }
  partition.places.erase(first, partition.places.end());
  for (auto& [consumer, position] : partition.positions) position = std::min(position, offset);
  std::erase_if(partition.gaps, [&](Gap& gap) {
    gap.end = std::min(gap.end, offset);
    return gap.begin >= gap.end;
  });
  partition.read.erase(partition.read.lower_bound(offset), partition.read.end());
  if (!partition.read.empty()) {
    auto& [begin, end] = *partition.read.rbegin();
    end = std::min(end, offset);
  }
}

// --- What only the end shows.

void Checker::add_missing(const std::string& name, const Partition& partition,
                          std::vector<Complaint>& to) const {
  for (const auto& [offset, at] : partition.places) {
    if (!at.acknowledged || at.seen || !at.required) continue;
    const bool passed = covered(partition, offset);
    to.push_back({passed ? Anomaly::kLostWrite : Anomaly::kUnseenRecord, name, offset,
                  fmt::format("'{}' was acknowledged at {} offset {}, and {}",
                              records_[at.record].value, name, offset,
                              passed ? "whoever read there did not see it" : "nobody read it")});
  }
}

void Checker::add_skipped(const std::string& name, const Partition& partition,
                          std::vector<Complaint>& to) const {
  for (const Gap& gap : partition.gaps) {
    const auto end = partition.places.lower_bound(gap.end);
    for (auto at = partition.places.lower_bound(gap.begin); at != end; ++at) {
      if (!at->second.seen || !at->second.required) continue;
      to.push_back(
          {Anomaly::kSkippedPoll, name, at->first,
           fmt::format("{} went on from {} to {} in {} and did not see '{}' at {}", gap.consumer,
                       gap.begin, gap.end, name, records_[at->second.record].value, at->first)});
    }
  }
}

void Checker::add_disorder(const std::string& name, const Partition& partition,
                           std::vector<Complaint>& to) const {
  std::unordered_map<std::size_t, const Record*> last;
  for (const auto& [offset, at] : partition.places) {
    const Record& record = records_[at.record];
    if (!record.sent || record.offset != offset || record.partition != name) continue;
    const Record*& before = last[record.producer];
    if (before != nullptr && record.order < before->order) {
      to.push_back({Anomaly::kNonMonotonicSend, name, offset,
                    fmt::format("{} sent '{}' before '{}', which lies before it: {} offsets {} "
                                "and {}",
                                producers_[record.producer], record.value, before->value, name,
                                offset, before->offset)});
    }
    before = &record;
  }
}

std::vector<Complaint> Checker::complaints() const {
  std::vector<Complaint> all = found_;
  for (const auto& [name, partition] : partitions_) {
    add_missing(name, partition, all);
    add_skipped(name, partition, all);
    add_disorder(name, partition, all);
  }
  return all;
}

}  // namespace tidelog::history
