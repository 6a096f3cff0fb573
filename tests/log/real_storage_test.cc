// The log on the machine's own file system and queues: what the simulated disk cannot show.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/blocking_pool.h"
#include "log/inspect.h"
#include "log/log_store.h"
#include "tests/log/log_harness.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log {
namespace {

class RealStorageTest : public testing::TestWithParam<io::World> {
 protected:
  void SetUp() override {
    std::string why_not;
    world_ = io::IoWorld::make(GetParam(), why_not);
    if (world_ == nullptr) GTEST_SKIP() << why_not;
    options_.path = world_->path("data");
    options_.broker_id = 1;
    options_.shard.journal_bytes_min = 256 << 10;
    options_.shard.journal_bytes_max = 2 << 20;
    options_.shard.tail_cache_bytes = 1 << 20;
    options_.shard.free_space_bytes_min = 0;
    options_.shard.free_space_ratio_min = 0;
    settings_.segment_bytes = 2 << 20;
  }
  void TearDown() override {
    stop_hard();
    world_.reset();  // tasks that never ran may hold buffers
  }

  void start() {
    pool_ = std::make_unique<BlockingPool>("files", 1);
    auto opened = LogStore::open(
        world_->files(), options_,
        {{.executor = &world_->executor(),
          .queue = &world_->queue(),
          .blocking = pool_.get(),
          .buffers = &buffers_}},
        [](const TopicPartition&) { return 0; },
        [this](const TopicPartition&) { return settings_; });
    ASSERT_TRUE(opened) << opened.error().to_string();
    store_ = std::move(*opened);
  }
  // As kill -9 does: nothing is finished, nothing is said.
  void stop_hard() {
    pool_.reset();
    if (world_ != nullptr) world_->end_queue();
    store_.reset();
  }
  ShardLogs& logs() { return store_->shard(0); }
  void run_until(const std::function<bool()>& condition) {
    world_->run_until([&] {
      logs().end_of_turn();
      return condition();
    });
  }
  void create(const TopicPartition& id) {
    bool done = false;
    logs().create(id, settings_, [&](const Result<PartitionLog*>& log) { done = log.has_value(); });
    run_until([&] { return done; });
  }
  // Every batch of `id` in order; CHECKs nothing, the caller compares.
  std::vector<std::byte> read_all(const TopicPartition& id) {
    PartitionLog* log = logs().find(id);
    std::vector<std::byte> all;
    for (Offset from = log->log_start(); from < log->log_end();) {
      std::optional<Result<ReadResult>> answer;
      log->read(from, {.up_to = log->log_end(), .bytes_max = 1 << 20, .at_least_one = true},
                [&](Result<ReadResult> result) { answer = std::move(result); });
      run_until([&] { return answer.has_value(); });
      if (!*answer) {
        ADD_FAILURE() << answer->error().to_string();
        break;
      }
      for (const SharedBytes& piece : (*answer)->pieces) {
        all.insert(all.end(), piece.bytes().begin(), piece.bytes().end());
      }
      from = (*answer)->next_offset;
    }
    return all;
  }

  std::unique_ptr<io::IoWorld> world_;
  LogStoreOptions options_;
  PartitionLogSettings settings_;
  BufferPool buffers_{std::size_t{64} << 20};
  std::unique_ptr<BlockingPool> pool_;
  std::unique_ptr<LogStore> store_;
};

TEST_P(RealStorageTest, KeepsWhatWasAcknowledgedOverKillsAndCleanStops) {
  std::map<TopicPartition, std::vector<std::byte>> wanted;
  std::uint64_t seed = 1;
  for (int life = 0; life < 4; ++life) {
    start();
    if (life == 0) {
      for (int i = 0; i < 6; ++i) create(partition_of(1, i));
    }
    for (auto& [id, bytes] : wanted)
      EXPECT_EQ(read_all(id), bytes) << id.to_string() << " life " << life;
    for (int round = 0; round < 40; ++round) {
      for (int i = 0; i < 6; ++i) {
        const TopicPartition id = partition_of(1, i);
        PartitionLog* log = logs().find(id);
        const auto appended =
            log->append(make_batch(id, seed++, 100 + i * 4000), LeaderEpoch(life + 1));
        ASSERT_TRUE(appended) << appended.error().to_string();
        const auto tail = log->read_tail(
            appended->base_offset, {.up_to = log->log_end(), .bytes_max = 1, .at_least_one = true});
        const auto stamped = (*tail)->pieces.front();
        wanted[id].insert(wanted[id].end(), stamped.bytes().begin(), stamped.bytes().end());
      }
      if (round % 8 == 7) {
        run_until([&] {
          return std::ranges::all_of(
              logs().all(), [](PartitionLog* log) { return log->durable_end() == log->log_end(); });
        });
      }
    }
    if (life % 2 == 0) {
      stop_hard();
      continue;
    }
    bool closed = false;
    logs().close([&](const Result<>& result) { closed = result.has_value(); });
    run_until([&] { return closed; });
    pool_.reset();
    ASSERT_TRUE(store_->finish_clean_stop());
    store_.reset();
    world_->end_queue();
    const auto report = verify_path(world_->files(), options_.path);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->partitions.size(), 6U);
  }
  start();
  for (auto& [id, bytes] : wanted) EXPECT_EQ(read_all(id), bytes) << id.to_string();
}

INSTANTIATE_TEST_SUITE_P(Worlds, RealStorageTest,
                         testing::Values(io::World::kRingDirect, io::World::kThreadsDirect,
                                         io::World::kThreadsBuffered),
                         [](const auto& world) { return to_string(world.param); });

}  // namespace
}  // namespace tidelog::log
