#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tools/bench/load.h"

namespace tidelog::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollMax{200};
constexpr std::chrono::seconds kQuietMax{30};

// One consumer, its partitions and the thread that reads them.
class Receiver {
 public:
  Receiver(const ConsumeLoad& load, int number, const StopEvent& stop, LoadProgress& progress)
      : load_(load), stop_(stop), progress_(progress), consumer_(load.consumer) {
    ends_.resize(load.topic.partitions.size(), -1);
    for (const client::PartitionDescription& one : load.topic.partitions) {
      const bool is_mine = load.is_fan_out || one.partition % load.connections == number;
      if (!is_mine || one.start_offset >= one.high_watermark) continue;
      ends_[static_cast<std::size_t>(one.partition)] = one.high_watermark;
      assignments_.push_back(
          {load.topic.name, one.partition, client::Position::offset(one.start_offset)});
    }
    open_partitions_ = assignments_.size();
    const int sharers = load.is_fan_out ? 1 : load.connections;
    records_max_ = load.records_max / sharers + (load.records_max % sharers > number ? 1 : 0);
  }

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void join() { thread_.join(); }

  // REQUIRES: joined.
  void add_to(LoadResult& result) const {
    result.records += records_;
    result.bytes += bytes_;
    if (!error_) return;
    ++result.errors;
    if (!result.first_error) result.first_error = error_;
  }
  bool is_stuck() const { return is_stuck_; }

 private:
  void run() {
    if (assignments_.empty()) return;
    if (const auto assigned = consumer_.assign(assignments_); !assigned) {
      error_ = assigned.error();
      return;
    }
    auto last = SteadyClock::now();
    while (open_partitions_ > 0 && !is_enough() && !stop_.is_set()) {
      const client::ConsumedRecords polled = consumer_.poll(kPollMax);
      if (!polled.errors.empty()) {
        error_ = polled.errors.front().error;
        return;
      }
      const auto now = SteadyClock::now();
      if (!polled.records.empty()) last = now;
      if (now - last > kQuietMax) {
        is_stuck_ = true;
        return;
      }
      for (const client::ConsumedRecord& record : polled.records) take(record);
      progress_.records.fetch_add(static_cast<std::int64_t>(polled.records.size()),
                                  std::memory_order_relaxed);
    }
  }

  bool is_enough() const { return load_.records_max > 0 && records_ >= records_max_; }

  void take(const client::ConsumedRecord& record) {
    ++records_;
    bytes_ += record.value ? record.value->size() : 0;
    if (record.offset + 1 == ends_[static_cast<std::size_t>(record.partition)]) --open_partitions_;
  }

  const ConsumeLoad& load_;
  const StopEvent& stop_;
  LoadProgress& progress_;
  client::Consumer consumer_;
  std::vector<client::Assignment> assignments_;
  std::vector<std::int64_t> ends_;  // by partition; -1: not read here
  std::size_t open_partitions_ = 0;
  std::int64_t records_max_ = 0;
  std::int64_t records_ = 0;
  std::uint64_t bytes_ = 0;
  bool is_stuck_ = false;
  std::optional<client::Error> error_;
  std::thread thread_;
};

}  // namespace

Result<LoadResult> run_consume_load(const ConsumeLoad& load, const StopEvent& stop,
                                    LoadProgress& progress) {
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (int i = 0; i < load.connections; ++i) {
    receivers.push_back(std::make_unique<Receiver>(load, i, stop, progress));
  }
  LoadResult result;
  const double cpu = process_cpu_seconds();
  const auto begin = SteadyClock::now();
  for (const auto& receiver : receivers) receiver->start();
  for (const auto& receiver : receivers) receiver->join();
  result.seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  result.client_cpu_s = process_cpu_seconds() - cpu;
  bool is_stuck = false;
  for (const auto& receiver : receivers) {
    receiver->add_to(result);
    is_stuck = is_stuck || receiver->is_stuck();
  }
  if (!is_stuck) return result;
  return fail(ErrorCode::kTimedOut,
              fmt::format("no record of topic '{}' came for {} s, after {} of them",
                          load.topic.name, kQuietMax.count(), result.records));
}

}  // namespace tidelog::tools
