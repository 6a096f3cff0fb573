// PartitionLog over the pieces: the tail takes appends, the journal makes them durable, the
// destager brings them to segments, the cold reader fetches them back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "log/cold_reader.h"
#include "log/destager.h"
#include "log/journal.h"
#include "log/leader_epochs.h"
#include "log/log_tail.h"
#include "log/partition_log.h"
#include "log/producer_state.h"
#include "log/segment.h"
#include "log/shard_context.h"
#include "log/tail_cache.h"

namespace tidelog::log {

// A log as recovery found it; everything in it is stable, in segments or in the journal.
struct RecoveredLog {
  TopicPartition id;
  std::uint32_t incarnation = 0;
  LogHealth health = LogHealth::kSound;
  Offset log_start;
  Offset stable_end;  // segments have what lies below
  Offset end;
  std::vector<std::byte> tail;  // the batches from stable_end to end, which the journal holds
  std::vector<HeldWrite> held;  // in these writes
  Offset high_watermark;
  std::vector<Hole> holes;
  std::vector<std::shared_ptr<Segment>> segments;
  std::vector<std::string> retired_files;  // of segments below log_start, to be removed
  LeaderEpochs epochs;
};

class PartitionLogImpl final : public PartitionLog,
                               public JournalLane,
                               public DestageTarget,
                               public ColdSource,
                               public std::enable_shared_from_this<PartitionLogImpl> {
 public:
  PartitionLogImpl(ShardContext& context, RecoveredLog recovered,
                   const PartitionLogSettings& settings);
  ~PartitionLogImpl() override;

  const TopicPartition& id() const override { return id_; }
  Offset log_start() const override { return log_start_; }
  Offset log_end() const override { return tail_->end(); }
  Offset durable_end() const override { return JournalLane::durable_end(); }
  LeaderEpoch last_epoch() const override { return epochs_.last(); }
  LogHealth health() const override;
  std::vector<Hole> holes() const override { return holes_; }
  std::uint64_t size_bytes() const override;

  Result<AppendResult> append(std::span<const std::byte> batches, LeaderEpoch epoch) override;
  Offset withdraw(Offset from) override;
  void on_durable(std::function<void(Offset)> listener) override {
    durable_listener_ = std::move(listener);
  }
  void on_failure(std::function<void(const Error&)> listener) override {
    failure_listener_ = std::move(listener);
  }
  std::optional<Result<ReadResult>> read_tail(Offset from, const ReadLimits& limits) override;
  void read(Offset from, const ReadLimits& limits, ReadCallback done) override;
  std::optional<Offset> next_sound_offset(Offset from) const override;
  std::vector<Hole> damaged_ranges() const override { return corrupt_ranges(); }
  void find_timestamp(std::int64_t timestamp_ms, Offset up_to, FindCallback done) override;
  EpochEnd epoch_end(LeaderEpoch epoch) const override;
  void truncate(Offset offset, DoneCallback done) override;
  void trim(Offset offset, DoneCallback done) override;
  void change_settings(const PartitionLogSettings& settings) override;
  void set_checkpointed_high_watermark(Offset offset) override { high_watermark_ = offset; }
  Offset recovered_high_watermark() const override { return recovered_high_watermark_; }

  // --- For the shard.
  // Everything below is in segments, durably.
  Offset stable_end() const { return stable_end_; }
  LogCheckpoint checkpoint() const;
  // Closes the open chunk and destages what is durable; with `all`, what is not durable yet as
  // well.
  void destage(bool all = false);
  // True when nothing is under way, everything is stable, and no more than `journal_bytes` of it in
  // the journal alone.
  bool at_rest(std::size_t journal_bytes) const;
  // The directory failed. REQUIRES: nothing of the log is journalled any more.
  void failed(const Error& error);
  // The shard closes without space for what is under way: answers whoever waits for it.
  void give_up(const Error& error);
  // Does what the settings say about age and size. To be called from time to time.
  void retain();
  // Ends appends and reads (those in flight with kUnknownPartition); runs `done` when nothing is
  // under way. The journal keeps what it has of the log, which a crash may bring back.
  void retire(std::move_only_function<void()> done);
  // Nothing brings the log back: memory, the journal and the remover of segments forget it; then
  // runs `done`. REQUIRES: retired, and the catalog says so durably.
  void release(std::move_only_function<void()> done);
  // The shard goes before the retirement ended: drops `done`, which may hold this log.
  void drop_retirement() { const auto dropped = std::exchange(when_retired_, nullptr); }
  void wait_until_retired();

  // JournalLane
  void durable_moved(std::size_t bytes) override;
  void make_room(Room room) override {
    if (!retired_) destage(room == Room::kNeeded);
  }
  // DestageTarget
  const TopicPartition& target_id() const override { return id_; }
  const PartitionLogSettings& target_settings() const override { return settings_; }
  LogTail& target_tail() override { return *tail_; }
  SegmentList& target_segments() override { return segments_; }
  // After a cut the journal has to say first that the log went on behind it: until then a recovery
  // takes what segments hold there for what was cut.
  Offset target_limit() const override {
    return destage_all_ && durable_end() > cut_end_ ? tail_->end() : durable_end();
  }
  Offset target_durable_end() const override { return durable_end(); }
  bool target_open() const override;
  void destaged(Offset end) override;
  void destage_ended() override;
  void segment_made() override { retain(); }
  // ColdSource
  const TopicPartition& source_id() const override { return id_; }
  SegmentList& source_segments() override { return segments_; }
  const std::vector<Hole>& source_holes() const override { return holes_; }
  bool source_gone() const override { return retired_; }
  std::optional<Result<ReadResult>> source_tail(Offset from, const ReadLimits& limits) override {
    return read_tail(from, limits);
  }

 private:
  struct Trim {
    Offset offset;
    DoneCallback done;
  };
  struct Truncation;
  using TruncationPtr = std::shared_ptr<Truncation>;

  Error refusal(ErrorCode code, std::string_view why) const;
  // Whether it takes records at all.
  Result<> is_open() const;
  // Whether there is room for these.
  Result<> may_append(std::span<const std::byte> batches, LeaderEpoch epoch) const;
  // Where the one batch of an idempotent producer lies already; nullopt: it may be appended.
  Result<std::optional<ProducerTable::Original>> find_original(const wire::BatchView& first,
                                                               std::size_t bytes) const;
  // Takes note of whole batches of the log.
  void enter_producers(std::span<const std::byte> batches);
  Result<> may_read(Offset from, const ReadLimits& limits) const;
  void read_for(ColdReader::For purpose, Offset from, const ReadLimits& limits, ReadCallback done);
  void search_timestamp(std::int64_t timestamp_ms, Offset from, Offset up_to, FindCallback done);
  // Answers the truncation, if there is one; nothing of it goes on.
  void drop_truncation(const Error& error);
  bool truncation_begun() const;
  void end_retirement();
  void truncate_when_quiet();
  void truncation_failed(const Error& error);
  void truncate_journal(const TruncationPtr& truncation);
  void truncate_in_memory(const TruncationPtr& truncation);
  void truncate_files(const TruncationPtr& truncation);
  void truncate_files_later(const TruncationPtr& truncation);
  void truncate_finish(const TruncationPtr& truncation);

  void end_old_segment(std::int64_t now_us);
  Offset retained_start(std::int64_t now_us) const;
  void raise_log_start(Offset start);
  void log_start_durable(Offset start);
  void drop_segments();
  void settle_trims(const Result<>& result);

  ShardContext& context_;
  TopicPartition id_;
  std::uint32_t incarnation_;
  PartitionLogSettings settings_;
  std::uint64_t seed_;
  Offset log_start_;
  Offset durable_start_;  // both copies of the checkpoint know it
  Offset stable_end_;
  Offset high_watermark_;
  Offset recovered_high_watermark_;
  std::shared_ptr<LogTail> tail_;
  SegmentList segments_;
  LeaderEpochs epochs_;
  ProducerTable producers_;  // behind the last append
  std::vector<Hole> holes_;
  LogHealth health_;
  std::size_t undurable_bytes_ = 0;
  bool destage_wanted_ = false;  // of what is sealed, as soon as it is durable
  bool destage_all_ = false;     // the journal has no room: without waiting for it
  Offset cut_end_{-1};           // of the last truncation
  bool withdrawn_ = false;       // the last appends: nothing takes their offsets in this life
  bool retired_ = false;
  std::move_only_function<void()> when_retired_;
  TruncationPtr truncation_;
  std::vector<Trim> trims_;  // wait for durable_start_
  std::function<void(Offset)> durable_listener_;
  std::function<void(const Error&)> failure_listener_;
};

}  // namespace tidelog::log
