// The local store as a broker runs it: an event loop on one thread, blocking work on others,
// callers on any.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/blocking_pool.h"
#include "log/io/system_file_system.h"
#include "replication/controller.h"
#include "replication/local_store.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::replication {
namespace {

// One process's life: loop, pool and store over a directory.
class Process {
 public:
  explicit Process(const std::string& path) {
    auto opened = LocalStore::open(files_, loop_, pool_, {.path = path});
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      std::abort();
    }
    store_ = std::move(*opened);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Process() {
    loop_.stop();
    thread_.join();
  }

  LocalStore& store() { return *store_; }
  wire::AsioExecutor& loop() { return loop_; }

  // Starts an operation from the calling thread and waits for its answer.
  template <typename T, typename Start>
  Result<T> wait_for(Start start) {
    auto answer = std::make_shared<std::promise<Result<T>>>();
    auto answered = answer->get_future();
    start([answer](Result<T> result) { answer->set_value(std::move(result)); });
    return answered.get();
  }

 private:
  log::io::SystemFileSystem files_{/*direct_io=*/false};
  wire::AsioExecutor loop_;
  std::unique_ptr<LocalStore> store_;
  BlockingPool pool_{"files", 2};  // ends first: its last write still needs the store's files
  std::thread thread_;
};

class LocalStoreThreadsTest : public testing::Test {
 protected:
  LocalStoreThreadsTest() {
    std::string name = testing::TempDir() + "/tidelog-threads-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  ~LocalStoreThreadsTest() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
};

TEST_F(LocalStoreThreadsTest, CountersRaisedByManyThreadsLoseNothing) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  const std::string path = directory_ + "/metadata";
  {
    Process process(path);
    std::atomic<int> conflicts{0};
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&process, &conflicts] {
        for (int done = 0; done < kRounds;) {
          const auto now = process.wait_for<std::optional<KeyValue>>(
              [&](auto answer) { process.store().get("counter", std::move(answer)); });
          ASSERT_TRUE(now);
          const int value = *now ? std::stoi((*now)->value) : 0;
          const Revision seen = *now ? (*now)->mod_revision : 0;
          const auto result = process.wait_for<TransactionResult>([&](auto answer) {
            process.store().commit(
                {{{"counter", seen}}, {{"counter", std::to_string(value + 1), 0}}},
                std::move(answer));
          });
          ASSERT_TRUE(result);
          if (result->succeeded) {
            ++done;
          } else {
            ++conflicts;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(
        process.wait_for<void>([&](auto answer) { process.store().close(std::move(answer)); }));
  }
  Process again(path);
  const auto counter = again.wait_for<std::optional<KeyValue>>(
      [&](auto answer) { again.store().get("counter", std::move(answer)); });
  ASSERT_TRUE(counter && *counter);
  EXPECT_EQ((*counter)->value, std::to_string(kThreads * kRounds));
  EXPECT_EQ((*counter)->mod_revision, static_cast<Revision>(kThreads * kRounds));
}

TEST_F(LocalStoreThreadsTest, ATopicOfTenThousandPartitionsComesAndRisesOnTheMachinesDisk) {
  using Topic = std::shared_ptr<const TopicView>;
  const std::string path = directory_ + "/metadata";
  for (const int life : {0, 1, 2}) {
    Process process(path);
    const auto ready = [](const Topic&, Controller::TopicReady done) { done({}); };
    auto controller =
        std::make_unique<Controller>(process.store(), process.loop(), BrokerId(0), nullptr);
    controller->on_create(ready);
    controller->on_delete(ready);
    controller->on_alter(ready);
    ASSERT_TRUE(process.wait_for<void>(
        [&](auto answer) { controller->start(/*new_epochs=*/life > 0, std::move(answer)); }));
    if (life == 0) {
      ASSERT_TRUE(process.wait_for<Topic>([&](auto answer) {
        controller->create_topic({.name = "wide", .partitions = 10'000}, std::move(answer));
      }));
    }
    const auto epoch = process.wait_for<int>([&](auto answer) {
      process.loop().post([&controller, answer = std::move(answer)]() mutable {
        const int last = controller->view()->find("wide")->partitions[9'999].leader_epoch.value();
        controller.reset();  // on its own thread, before the test goes on
        answer(last);
      });
    });
    EXPECT_EQ(*epoch, life);
  }
}

}  // namespace
}  // namespace tidelog::replication
