#include "tools/bench/tail_readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

namespace tidelog::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollMax{100};
constexpr std::chrono::seconds kQuietMax{5};

std::uint64_t random_run() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

}  // namespace

TailReaders::TailReaders(int readers, std::int64_t records, client::ConnectOptions connect)
    : run_(random_run()), due_ns_(static_cast<std::size_t>(records)) {
  for (int i = 0; i < readers; ++i) {
    readers_.push_back(std::make_unique<Reader>(client::ConsumerOptions{.connect = connect}));
  }
}

TailReaders::~TailReaders() { end(); }

Result<> TailReaders::start(const std::string& topic, std::int32_t partitions) {
  for (const auto& reader : readers_) {
    std::vector<client::Assignment> assignments;
    for (std::int32_t partition = 0; partition < partitions; ++partition) {
      assignments.push_back({topic, partition, client::Position::end()});
    }
    if (const auto assigned = reader->consumer.assign(std::move(assignments)); !assigned) {
      return fail(
          static_cast<ErrorCode>(assigned.error().code),
          fmt::format("a consumer cannot read topic '{}': {}", topic, assigned.error().message));
    }
  }
  for (const auto& reader : readers_) {
    reader->thread = std::thread([this, &reader = *reader] { read(reader); });
  }
  return {};
}

Payloads::Stamp TailReaders::on_due(std::int64_t record, SteadyClock::time_point due) {
  due_ns_[static_cast<std::size_t>(record)].store(
      std::chrono::nanoseconds(due.time_since_epoch()).count(), std::memory_order_relaxed);
  return {.run = run_, .record = record};
}

void TailReaders::read(Reader& reader) const {
  while (!ends_.load(std::memory_order_relaxed)) {
    const client::ConsumedRecords polled = reader.consumer.poll(kPollMax);
    const auto now = SteadyClock::now().time_since_epoch();
    if (!polled.errors.empty()) {
      reader.error = polled.errors.front().error;
      return;
    }
    for (const client::ConsumedRecord& record : polled.records) {
      const auto stamp = Payloads::stamp_of(record.value.value_or(""));
      if (!stamp || stamp->run != run_ || stamp->record < 0 ||
          std::cmp_greater_equal(stamp->record, due_ns_.size())) {
        continue;  // somebody else writes to the topic, too
      }
      const std::chrono::nanoseconds due(
          due_ns_[static_cast<std::size_t>(stamp->record)].load(std::memory_order_relaxed));
      reader.latencies.record(now - due);
      reader.records.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

bool TailReaders::finish(std::int64_t records) {
  const auto behind = [&] {
    std::int64_t sum = 0;
    for (const auto& reader : readers_) sum += std::max<std::int64_t>(0, records - reader->records);
    return sum;
  };
  std::int64_t last = behind();
  auto quiet_since = SteadyClock::now();
  while (last > 0 && SteadyClock::now() - quiet_since < kQuietMax) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (const std::int64_t now = behind(); now != last) {
      last = now;
      quiet_since = SteadyClock::now();
    }
  }
  end();
  for (const auto& reader : readers_) {
    if (reader->error && !error_) error_ = reader->error;
  }
  return last == 0;
}

void TailReaders::end() {
  ends_ = true;
  for (const auto& reader : readers_) {
    reader->consumer.wakeup();
    if (reader->thread.joinable()) reader->thread.join();
  }
}

LatencyHistogram TailReaders::latencies() const {
  LatencyHistogram all;
  for (const auto& reader : readers_) all.merge(reader->latencies);
  return all;
}

}  // namespace tidelog::tools
