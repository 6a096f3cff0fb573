#include "client/consumer/fetch_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tidelog::client_core {
namespace {

constexpr int kOpenFetches = 2;
// A change (a seek) need not wait for a parked fetch; but not any number of them may be sent ahead.
constexpr int kOpenFetchesWithChanges = 4;

}  // namespace

std::string Reading::place() const {
  return fmt::format("topic '{}' partition {}", topic_name, partition.value());
}

void FetchSession::join(Reading& reading) {
  reading.at = broker_;
  reading.unsent = true;
  readings_[reading.id()] = &reading;
  forgotten_.erase(reading.id());  // what is told of it now stands for both
}

void FetchSession::leave(Reading& reading) {
  readings_.erase(reading.id());
  // A fetch under way may open the session, with this partition in it.
  if (session_ != 0 || open_fetches_ > 0) forgotten_.insert(reading.id());
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
  open_fetches_ = 0;
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
  const bool changes = has_changes();
  if (readings_.empty() && !changes) return false;
  if (is_new()) return open_fetches_ == 0;  // the first answer names the session
  return open_fetches_ < (changes ? kOpenFetchesWithChanges : kOpenFetches);
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
  ++next_number_;
  ++open_fetches_;
  return request;
}

bool FetchSession::ended(const Ticket& ticket) {
  if (ticket.epoch != epoch_) return false;
  --open_fetches_;
  return true;
}

}  // namespace tidelog::client_core
