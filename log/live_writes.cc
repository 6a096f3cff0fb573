#include "log/live_writes.h"

#include <algorithm>

#include "base/check.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {
constexpr std::size_t kSpareWrites = 64;
}

std::unique_ptr<JournalWrite> LiveWrites::make() {
  if (spare_.empty()) return std::make_unique<JournalWrite>();
  auto write = std::move(spare_.back());
  spare_.pop_back();
  return write;
}

JournalWrite& LiveWrites::add(std::unique_ptr<JournalWrite> write) {
  write->sequence = next_sequence_++;
  writes_.push_back(std::move(write));
  writes_.back()->tail =
      broken(Rule::kTailNamesWhatIsNeeded) ? writes_.back()->sequence : tail_sequence();
  return *writes_.back();
}

void LiveWrites::adopt(std::uint64_t sequence) {
  TIDELOG_CHECK(writes_.empty() || sequence == next_sequence_, "sequences are dense");
  auto write = make();
  write->sequence = durable_sequence_ = sequence;
  write->complete = true;
  next_sequence_ = sequence + 1;
  writes_.push_back(std::move(write));
}

JournalWrite& LiveWrites::at(std::uint64_t sequence) {
  TIDELOG_CHECK(sequence >= tail_sequence() && sequence < next_sequence_,
                "a journal write that is held lives");
  return *writes_[sequence - writes_.front()->sequence];
}

void LiveWrites::completed(JournalWrite& write) {
  write.complete = true;
  while (durable_sequence_ + 1 < next_sequence_) {
    const std::uint64_t next = durable_sequence_ + 1;
    if (next >= tail_sequence() && !at(next).complete) break;
    durable_sequence_ = next;
  }
}

void LiveWrites::retire() {
  while (!writes_.empty() && writes_.front()->complete && writes_.front()->holds == 0) {
    auto write = std::move(writes_.front());
    writes_.pop_front();
    if (spare_.size() < kSpareWrites) {
      write->complete = false;
      write->lanes.clear();
      spare_.push_back(std::move(write));
    }
  }
}

void LiveWrites::forget(JournalLane& lane) {
  for (std::size_t i = 0; i < writes_.size(); ++i) {
    if (!writes_[i]->complete) {
      std::ranges::replace(writes_[i]->lanes, &lane, static_cast<JournalLane*>(nullptr));
    }
  }
}

}  // namespace tidelog::log
