// One life after another of a data directory on a simulated disk, all of it determined by a seed:
// what producers, consumers and operators do, which operations of the disk fail, where the power
// goes, what survives, and with how many shards the next start meets it.
//
// The checker of histories (tests/history) hears what producers are told and what consumers and,
// after each start, an auditor read; beside it, every batch is compared with what was appended,
// byte for byte. What a start found counts as acknowledged from then on.
//
// After a failed write or sync (an input/output error) the power goes, or the process ends, after a
// stop that cannot be a clean one or without any, and the next one starts on what the device has of
// what failed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/history/history.h"
#include "tests/log/history_partition.h"
#include "tests/log/log_harness.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::log {

// How much a history, or many, tried.
struct HistoryCounts {
  std::uint64_t lives = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t power_cuts_in_recovery = 0;
  std::uint64_t kills = 0;
  std::uint64_t clean_stops = 0;
  std::uint64_t failed_disks = 0;
  std::uint64_t restarts_on_failed_disks = 0;  // without a power cut
  std::uint64_t batches = 0;
  std::uint64_t duplicates = 0;  // answered as such
  std::uint64_t truncations = 0;
  std::uint64_t trims = 0;
  std::uint64_t removals = 0;

  HistoryCounts& operator+=(const HistoryCounts& other);
  std::string to_string() const;
};

// Thread: one.
class RandomHistory {
 public:
  // `trace`: each step is printed to stdout.
  explicit RandomHistory(std::uint64_t seed, bool trace = false);
  ~RandomHistory();
  RandomHistory(const RandomHistory&) = delete;
  RandomHistory& operator=(const RandomHistory&) = delete;

  // Runs it to its end, or to the first thing that is wrong, and returns that; "" where all is
  // well. REQUIRES: called once.
  std::string run();
  const HistoryCounts& counts() const { return counts_; }

 private:
  enum class End : std::uint8_t { kPowerCut, kKill, kCleanStop };

  // --- Lives.
  void life(bool last);
  HarnessOptions harness_options();
  void plant_faults();
  End end_on_failed_disk();
  void next_disk(End end);
  sim::CrashPolicy some_policy();
  bool open();
  // The power is on and the directory takes records.
  bool alive() const;
  bool failed() const;
  // Drives the executor until `answered`; false when the life ended first.
  bool await(const std::function<bool()>& answered);

  // --- What is found after a start.
  void audit();
  void audit_files();
  void audit_partition(HistoryPartition& partition);
  void audit_records(HistoryPartition& partition, PartitionLog& log);

  // --- What happens in a life.
  void act();
  void append();
  void append_to(HistoryPartition& partition);
  void append_plain(HistoryPartition& partition, std::size_t bytes);
  void pump(HistoryPartition& partition);
  void send_again(HistoryPartition& partition);
  void consume(HistoryPartition& partition);
  void truncate(HistoryPartition& partition);
  void trim(HistoryPartition& partition);
  void change_settings(HistoryPartition& partition);
  void create();
  void remove(HistoryPartition& partition);
  void wait_durable(HistoryPartition& partition);
  void stop_cleanly();
  void take_acknowledgements(HistoryPartition& partition);
  void listen(HistoryPartition& partition);
  HistoryPartition* some_partition();
  std::size_t some_bytes();

  void note(const std::string& step);
  void complain(const std::string& what);
  // An error that what was done to the disk explains.
  bool expected(const Error& error) const;

  const std::uint64_t seed_;
  const bool trace_;
  sim::SimRandom random_;
  std::unique_ptr<sim::SimDisk> disk_;
  Ledger unused_;
  std::unique_ptr<LogHarness> harness_;
  std::map<TopicPartition, std::unique_ptr<HistoryPartition>> partitions_;
  history::Checker checker_;
  HistoryCounts counts_;
  std::string complaint_;
  std::uint64_t lives_ = 0;
  std::int32_t epoch_ = 0;
  std::uint64_t names_ = 0;  // given to lives of partitions
  bool faults_ = false;      // of the disk, in this life
  bool disk_failed_ = false;
  bool started_ = false;  // this life came through its start
};

}  // namespace tidelog::log
