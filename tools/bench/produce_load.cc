#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "tools/bench/load.h"
#include "tools/bench/payloads.h"
#include "tools/bench/tail_readers.h"

namespace tidelog::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How often waiting looks whether it shall end.
constexpr std::chrono::milliseconds kLookInterval{200};
// How long an interrupted load waits for what it sent.
constexpr std::chrono::seconds kInterruptDeadline{5};

// One producer and the thread that feeds it.
class Sender {
 public:
  Sender(const ProduceLoad& load, int number, const Payloads& payloads, TailReaders* readers,
         const StopEvent& stop, LoadProgress& progress)
      : load_(load),
        number_(number),
        payloads_(payloads),
        readers_(readers),
        stop_(stop),
        progress_(progress),
        room_(static_cast<std::ptrdiff_t>(load.outstanding_max)),
        producer_(load.producer) {}

  void start(SteadyClock::time_point begin) {
    thread_ = std::thread([this, begin] { run(begin); });
  }
  void join() { thread_.join(); }
  // Wakes a thread that waits for room in the buffer.
  void give_up() { producer_.close(kInterruptDeadline); }

  // REQUIRES: joined.
  void add_to(LoadResult& result) const {
    result.records += acknowledged_;
    result.errors += errors_;
    if (first_error_ && !result.first_error) result.first_error = first_error_;
    result.acknowledgement.merge(latencies_);
  }

 private:
  void run(SteadyClock::time_point begin) {
    for (std::int64_t i = number_; i < load_.records && wait_for_turn(begin, i);
         i += load_.connections) {
      send(i, load_.rate > 0 ? due(begin, i) : SteadyClock::now());
    }
    while (!producer_.flush(kLookInterval) && !stop_.is_set()) {
    }
    producer_.close(kInterruptDeadline);
  }

  SteadyClock::time_point due(SteadyClock::time_point begin, std::int64_t record) const {
    const std::chrono::duration<double> after(static_cast<double>(record) / load_.rate);
    return begin + std::chrono::duration_cast<SteadyClock::duration>(after);
  }

  // False once the load shall end.
  bool wait_for_turn(SteadyClock::time_point begin, std::int64_t record) {
    if (load_.rate > 0) {
      const auto turn = due(begin, record);
      for (auto now = SteadyClock::now(); now < turn && !stop_.is_set(); now = SteadyClock::now()) {
        std::this_thread::sleep_until(std::min(turn, now + kLookInterval));
      }
    }
    if (load_.outstanding_max > 0) {
      while (!room_.try_acquire_for(kLookInterval)) {
        if (stop_.is_set()) return false;
      }
    }
    return !stop_.is_set();
  }

  void send(std::int64_t i, SteadyClock::time_point due) {
    client::Record record{.topic = load_.topic};
    record.partition = static_cast<std::int32_t>(i % load_.partitions);
    record.value =
        readers_ == nullptr ? payloads_.value(i) : payloads_.stamped(readers_->on_due(i, due));
    // Two words: the callback needs no allocation.
    producer_.produce(
        std::move(record),
        [this, due](const client::Result<client::Delivery>& delivery) { settle(delivery, due); });
  }

  // On the producer's thread.
  void settle(const client::Result<client::Delivery>& delivery, SteadyClock::time_point due) {
    if (delivery) {
      latencies_.record(SteadyClock::now() - due);
      ++acknowledged_;
      progress_.records.fetch_add(1, std::memory_order_relaxed);
    } else if (!stop_.is_set()) {  // what an interrupt left unsent did not fail
      ++errors_;
      if (!first_error_) first_error_ = delivery.error();
    }
    if (load_.outstanding_max > 0) room_.release();
  }

  const ProduceLoad& load_;
  const int number_;
  const Payloads& payloads_;
  TailReaders* readers_;  // may be null
  const StopEvent& stop_;
  LoadProgress& progress_;
  std::counting_semaphore<> room_;
  LatencyHistogram latencies_;
  std::int64_t acknowledged_ = 0;
  std::uint64_t errors_ = 0;
  std::optional<client::Error> first_error_;
  client::Producer producer_;  // behind what its callbacks use
  std::thread thread_;
};

void run_senders(std::vector<std::unique_ptr<Sender>>& senders, const StopEvent& stop) {
  StopEvent finished;
  std::thread watch([&] {
    std::array<pollfd, 2> waits{{{stop.fd(), POLLIN, 0}, {finished.fd(), POLLIN, 0}}};
    poll(waits.data(), waits.size(), -1);
    if (!stop.is_set()) return;
    for (const auto& sender : senders) sender->give_up();
  });
  const auto begin = SteadyClock::now();
  for (const auto& sender : senders) sender->start(begin);
  for (const auto& sender : senders) sender->join();
  finished.set();
  watch.join();
}

}  // namespace

double process_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Result<LoadResult> run_produce_load(const ProduceLoad& load, const StopEvent& stop,
                                    LoadProgress& progress) {
  std::optional<TailReaders> readers;
  if (load.tail_consumers > 0) {
    readers.emplace(load.tail_consumers, load.records, load.producer.connect);
    TIDELOG_TRY(readers->start(load.topic, load.partitions));
  }
  const Payloads payloads(load.record_bytes);
  std::vector<std::unique_ptr<Sender>> senders;
  for (int i = 0; i < load.connections; ++i) {
    senders.push_back(
        std::make_unique<Sender>(load, i, payloads, readers ? &*readers : nullptr, stop, progress));
  }
  LoadResult result;
  const double cpu = process_cpu_seconds();
  const auto begin = SteadyClock::now();
  run_senders(senders, stop);
  result.seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  for (const auto& sender : senders) sender->add_to(result);
  result.bytes = static_cast<std::uint64_t>(result.records) * load.record_bytes;
  const bool is_all_read = !readers || readers->finish(result.records);
  result.client_cpu_s = process_cpu_seconds() - cpu;
  if (!readers) return result;
  result.end_to_end = readers->latencies();
  if (is_all_read || stop.is_set()) return result;
  return fail(
      ErrorCode::kTimedOut,
      fmt::format("consumers did not get all of the {} records acknowledged: {}", result.records,
                  readers->error() ? readers->error()->message : "nothing came for five seconds"));
}

}  // namespace tidelog::tools
