// One connection of a scripted broker: its frames, and the requests that are answered at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/scripted_broker.h"
#include "tests/sim/scripted_fetches.h"
#include "tests/sim/scripted_tables.h"

namespace tidelog::sim {

class ScriptedSession : public std::enable_shared_from_this<ScriptedSession> {
 public:
  ScriptedSession(ScriptedBroker& broker, std::unique_ptr<wire::Connection> stream,
                  std::int32_t shard)
      : broker_(broker),
        stream_(std::move(stream)),
        shard_(shard),
        read_(64 * 1024),
        fetches_(broker, *this) {}

  void receive();
  void end();
  bool ended() const { return ended_; }
  bool greeted() const { return greeted_; }
  std::int32_t shard() const { return shard_; }

  void notice(fb::NoticeKind kind, const std::string& reason);
  // Answers a ping.
  void ping(std::uint64_t correlation);
  // Answers the fetches that have something to say now.
  void wake() { fetches_.wake(); }

  // `correlation` 0: a notice.
  void send(wire::ApiKey api, std::uint64_t correlation,
            const flatbuffers::FlatBufferBuilder& table, std::vector<SharedBytes> raw);

 private:
  bool take_frame();
  void handle(const wire::FramePrefix& prefix, std::span<const std::byte> table,
              std::span<const std::byte> raw);
  void hello(std::uint64_t correlation, std::span<const std::byte> table);
  void metadata(std::uint64_t correlation, std::span<const std::byte> table);
  void produce(std::uint64_t correlation, std::span<const std::byte> table,
               std::span<const std::byte> raw);
  // What becomes of one batch, and its offset.
  ScriptedBroker::Verdict store(const TopicPartition& partition, std::span<const std::byte> batch,
                                std::int64_t& base_offset);
  void list_offsets(std::uint64_t correlation, std::span<const std::byte> table);
  void init_producer_id(std::uint64_t correlation);
  void cancel(std::uint64_t correlation, std::span<const std::byte> table);

  ScriptedBroker& broker_;
  std::unique_ptr<wire::Connection> stream_;
  std::int32_t shard_;
  bool greeted_ = false;
  std::vector<std::byte> read_;
  std::vector<std::byte> received_;
  ScriptedFetches fetches_;
  bool ended_ = false;
};

}  // namespace tidelog::sim
