// Sizes and intervals of the log. Defaults are what a broker uses; tests make them small.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tidelog::log {

// Of one partition's log; from the topic's settings.
struct PartitionLogSettings {
  std::uint64_t segment_bytes = 256ULL << 20;  // segment.bytes
  std::size_t batch_bytes_max = 4ULL << 20;    // max.message.bytes
  bool log_append_time = false;                // message.timestamp.type
  std::int64_t retention_ms = -1;              // retention.ms; negative: for ever
  std::int64_t retention_bytes = -1;           // retention.bytes; negative: any number
  std::int64_t segment_ms = -1;                // segment.ms; negative: until it is full
};

// Of one shard.
struct ShardLogOptions {
  std::uint64_t journal_bytes_min = 4ULL << 20;    // first size of the ring
  std::uint64_t journal_bytes_max = 128ULL << 20;  // it doubles up to this
  std::size_t journal_write_bytes_max = 1ULL << 20;
  int journal_writes_in_flight_max = 2;
  std::size_t destage_bytes = 256ULL << 10;  // a log's journalled bytes go to its segment from here
  std::size_t index_interval_bytes = 32ULL << 10;
  std::uint64_t index_save_bytes = 64ULL << 20;  // the most of a segment that a start has to scan
  std::size_t tail_cache_bytes = 256ULL << 20;   // of the shard, beyond what waits for destaging
  std::size_t unstable_bytes_max = 64ULL
                                   << 20;  // staged and not yet durable; above it append refuses
  std::size_t read_cache_bytes = 64ULL << 20;  // what came from the disk
  std::size_t cold_read_bytes = 512ULL << 10;
  int cold_reads_in_flight_max = 4;
  std::size_t open_segments_max = 512;  // segment files held open; beyond, they are opened again
  std::size_t replay_bytes_max = 32ULL << 20;  // of a journal's batches, that a start holds at once
  std::chrono::milliseconds quiet_write_after{50};
  std::chrono::seconds checkpoint_interval{5};
  std::chrono::seconds retention_interval{10};  // how often the age of records is looked at
  // Free space below which appends are refused: the larger of the two (storage.md: 2 % or 1 GiB).
  double free_space_ratio_min = 0.02;
  std::uint64_t free_space_bytes_min = 1ULL << 30;
};

}  // namespace tidelog::log
