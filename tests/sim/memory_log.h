// A PartitionLog in memory: an honest second implementation of its contract, for tests above the
// log.
//
// Batches are checked, stamped and kept; what is appended becomes durable in a later task, or when
// the test lets it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/executor.h"
#include "log/partition_log.h"
#include "log/producer_state.h"

namespace tidelog::sim {

class MemoryLog final : public log::PartitionLog {
 public:
  // The executor outlives the log.
  MemoryLog(Executor& executor, TopicPartition id, log::PartitionLogSettings settings = {});
  ~MemoryLog() override;

  // --- The test's hand.
  // While held, nothing becomes durable.
  void hold() { held_ = true; }
  // Lets everything appended so far, or what lies below `end`, become durable.
  void release();
  void release_up_to(Offset end);
  // The disk is full: nothing becomes durable, and writes that wait for space hold what lies below
  // `written`; withdraw() takes back the rest.
  void fill(Offset written) {
    held_ = true;
    written_ = written;
  }
  // A write failed: no more appends; the listener hears of it later.
  void fail_writes(const Error& error);
  // Refuses the next append with `error`, without keeping anything.
  void refuse_next_append(Error error) { refusal_ = std::move(error); }
  // What a crash and the next start do: everything that is not durable is gone, and the high
  // watermark is that of the last checkpoint, which in memory is always the present one.
  void lose_unstable();
  // What retention does.
  void drop_before(Offset offset);

  const TopicPartition& id() const override { return id_; }
  Offset log_start() const override { return log_start_; }
  Offset log_end() const override;
  Offset durable_end() const override { return durable_end_; }
  LeaderEpoch last_epoch() const override;
  log::LogHealth health() const override;
  std::vector<log::Hole> holes() const override { return {}; }
  std::uint64_t size_bytes() const override;
  Result<log::AppendResult> append(std::span<const std::byte> batches, LeaderEpoch epoch) override;
  Offset withdraw(Offset from) override;
  void on_durable(std::function<void(Offset)> listener) override;
  void on_failure(std::function<void(const Error&)> listener) override;
  std::optional<Result<log::ReadResult>> read_tail(Offset from,
                                                   const log::ReadLimits& limits) override;
  void read(Offset from, const log::ReadLimits& limits, ReadCallback done) override;
  std::optional<Offset> next_sound_offset(Offset from) const override;
  std::vector<log::Hole> damaged_ranges() const override { return {}; }
  void find_timestamp(std::int64_t timestamp_ms, Offset up_to, FindCallback done) override;
  EpochEnd epoch_end(LeaderEpoch epoch) const override;
  void set_checkpointed_high_watermark(Offset offset) override { checkpointed_ = offset; }
  Offset recovered_high_watermark() const override { return recovered_; }
  void truncate(Offset offset, DoneCallback done) override;
  void trim(Offset offset, DoneCallback done) override;
  void change_settings(const log::PartitionLogSettings& settings) override { settings_ = settings; }

 private:
  struct Batch {
    SharedBytes bytes;
    Offset base;
    Offset next;
    LeaderEpoch epoch;
    std::int64_t max_timestamp_ms;
  };
  // After batches went from the end.
  void find_producers_again();
  // Runs `work` later, unless the log is gone by then.
  void later(Task work);

  Executor& executor_;
  const TopicPartition id_;
  log::PartitionLogSettings settings_;
  std::shared_ptr<MemoryLog*> self_;
  std::vector<Batch> batches_;
  log::ProducerTable producers_;
  Offset log_start_{0};
  Offset durable_end_{0};
  Offset checkpointed_{0};
  Offset recovered_{0};
  bool held_ = false;
  std::optional<Offset> written_;  // while the disk is full
  std::optional<Error> failure_;
  std::optional<Error> refusal_;
  std::function<void(Offset)> durable_;
  std::function<void(const Error&)> failed_;
};

}  // namespace tidelog::sim
