#include "client/consumer/fetch_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tidelog::client_core {
namespace {

// A change (a seek) need not wait for a parked fetch; but not any number of them may be sent ahead.
constexpr std::size_t kOpenFetchesWithChanges = 4;

}  // namespace

std::string Reading::place() const {
  return fmt::format("topic '{}' partition {}", topic_name, partition.value());
}

void FetchSession::join(Reading& reading) {
  reading.at = shard_;
  reading.unsent = true;
  readings_[reading.id()] = &reading;
  forgotten_.erase(reading.id());  // what is told of it now stands for both
}

void FetchSession::leave(Reading& reading) {
  readings_.erase(reading.id());
  // A fetch under way may open the session, with this partition in it.
  if (session_ != 0 || !open_.empty()) forgotten_.insert(reading.id());
  reading.at.reset();
}

Reading* FetchSession::find(const TopicPartition& partition) const {
  const auto at = readings_.find(partition);
  return at != readings_.end() ? at->second : nullptr;
}

std::vector<Reading*> FetchSession::readings() const {
  std::vector<Reading*> all;
  all.reserve(readings_.size());
  for (const auto& [id, reading] : readings_) all.push_back(reading);
  return all;
}

void FetchSession::use_connection(std::uint64_t serial) {
  if (serial == serial_) return;
  reset();
  serial_ = serial;
}

void FetchSession::reset() {
  ++epoch_;
  session_ = 0;
  open_.clear();
  forgotten_.clear();
  for (auto& [id, reading] : readings_) {
    reading->unsent = true;
    // A broker that was started again leads in a later one.
    reading->leader_epoch = LeaderEpoch(-1);
  }
}

bool FetchSession::has_changes() const {
  return !forgotten_.empty() ||
         std::ranges::any_of(readings_, [](const auto& at) { return at.second->unsent; });
}

bool FetchSession::wants_fetch() const {
  if (readings_.empty()) return false;
  if (session_ == 0) return open_.empty();  // the first answer names the session
  return open_.size() < (has_changes() ? kOpenFetchesWithChanges : kOpenFetches);
}

FetchRequest FetchSession::begin_fetch(std::size_t partition_bytes_max) {
  FetchRequest request;
  request.session = session_;
  request.forgotten.assign(forgotten_.begin(), forgotten_.end());
  forgotten_.clear();
  for (auto& [id, reading] : readings_) {
    if (!std::exchange(reading->unsent, false)) continue;
    reading->set_by = next_number_;
    request.changed.push_back({.partition = id,
                               .bytes_max = static_cast<std::uint32_t>(partition_bytes_max),
                               .offset = Offset(reading->next),
                               .last_epoch = reading->last_epoch,
                               .leader_epoch = reading->leader_epoch});
  }
  open_.push_back({.number = next_number_++, .call = 0, .cancelled = false});
  return request;
}

bool FetchSession::ended(const Ticket& ticket) {
  if (ticket.epoch != epoch_) return false;
  std::erase_if(open_, [&](const OpenFetch& fetch) { return fetch.number == ticket.number; });
  return true;
}

std::optional<std::uint64_t> FetchSession::cancel_oldest() {
  if (session_ == 0 || !has_changes() || open_.empty()) return std::nullopt;
  if (std::ranges::any_of(open_, &OpenFetch::cancelled)) return std::nullopt;
  open_.front().cancelled = true;
  return open_.front().call;
}

}  // namespace tidelog::client_core
