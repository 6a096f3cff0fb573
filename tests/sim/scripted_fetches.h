// The fetch sessions of one connection of a scripted broker, and the fetches parked in them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "tests/sim/scripted_broker.h"
#include "tests/sim/scripted_tables.h"

namespace tidelog::sim {

class ScriptedSession;

class ScriptedFetches {
 public:
  ScriptedFetches(ScriptedBroker& broker, ScriptedSession& session)
      : broker_(broker), session_(session) {}

  void fetch(std::uint64_t correlation, std::span<const std::byte> table);
  // Answers what is parked and has something to say now.
  void wake();
  // Answers this fetch with what there is. False: it is not parked.
  bool cancel(std::uint64_t correlation);
  // The connection ended.
  void end();

 private:
  struct Parked {
    std::uint64_t correlation = 0;
    std::uint64_t session = 0;
    std::size_t bytes_max = 0;
    TimerId timer = 0;
  };
  struct Position {
    Offset offset;
    std::size_t bytes_max = 0;
    std::int32_t leader_epoch = -1;  // that the client knows
  };
  static constexpr std::size_t kSessionsMax = 64;
  using Positions = std::map<TopicPartition, Position>;

  void fail(std::uint64_t correlation, ErrorCode code);
  // False: there is nothing to say, and it need not be said.
  bool answer(const Parked& parked, bool even_nothing);
  // False: the partition leaves the session, with an error.
  bool answer_partition(const TopicPartition& id, Position& position, std::size_t bytes_max,
                        flatbuffers::FlatBufferBuilder& to,
                        std::vector<flatbuffers::Offset<fb::FetchResult>>& results,
                        std::vector<SharedBytes>& raw, std::size_t& bytes);

  ScriptedBroker& broker_;
  ScriptedSession& session_;
  std::map<std::uint64_t, Positions> fetch_sessions_;
  std::uint64_t next_session_ = 1;
  std::deque<Parked> parked_;
};

}  // namespace tidelog::sim
