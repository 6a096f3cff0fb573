// The control thread: cluster metadata and the decisions about topics, away from the shards. It
// takes a bounded number of changes at once, which name a bounded number of bytes: a request whose
// deadline passed is answered, but its change goes on and keeps what it named.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/executor.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/budgets.h"
#include "broker/shard.h"
#include "log/io/file_system.h"
#include "replication/controller.h"
#include "replication/local_store.h"
#include "replication/producer_ids.h"

namespace tidelog::broker {

// Thread: start(), load() and close() by the broker's thread, which waits; the rest any.
class ControlThread final : public ControlPlane {
 public:
  // `blocking` outlives the thread.
  ControlThread(BrokerId self, BlockingExecutor& blocking);
  ~ControlThread() override;

  // Opens the store in `path` and reads the topics; returns what is there.
  // Fails with kDirectoryInUse, kCorruptData, kStorageFailed, kStorageFull.
  Result<std::shared_ptr<const replication::ClusterView>> open(log::io::FileSystem& files,
                                                               const std::string& path);

  // Gives every new view and every creation and deletion to the shards, whose threads run, and
  // finishes what a crash interrupted. Views arrive on a shard before the answer to the change that
  // made them.
  Result<> start(bool new_epochs, std::vector<Router::Peer> shards);

  void create_topic(replication::NewTopic topic, Executor& home, CreateCallback done) override;
  void delete_topic(std::string name, Executor& home, DoneCallback done) override;
  void alter_topic(std::string name, replication::Controller::SettingChanges changes,
                   Executor& home, DoneCallback done) override;
  void add_partitions(std::string name, std::int32_t total, Executor& home,
                      DoneCallback done) override;
  void allocate_producer_id(Executor& home, ProducerIdCallback done) override;

  // Of topics, as asked by clients. Thread: any.
  std::size_t changes_under_way() const { return open_changes_.used(); }

  // Ends what is under way and closes the store. Further changes fail with kDraining.
  Result<> close(std::chrono::steady_clock::time_point deadline);
  // Ends the thread where close() did not, and gives up the store, so that `blocking` may go.
  void let_go();

 private:
  using TopicViewPointer = std::shared_ptr<const replication::TopicView>;
  using OnShard = std::function<void(Shard&, const TopicViewPointer&, Topics::DoneCallback)>;
  // Runs `work` on every shard; `ready` on this thread when all have answered.
  void on_all_shards(const TopicViewPointer& topic, const OnShard& work,
                     replication::Controller::TopicReady ready);
  void publish(const std::shared_ptr<const replication::ClusterView>& view);
  template <typename T>
  using Outcome = std::move_only_function<void(Result<T>)>;
  template <typename T>
  using Change = std::move_only_function<void(replication::Controller&, Outcome<T>)>;
  // Begins a change, whose names and values take so many bytes, on this thread; `done` runs on
  // `home`, when the views that it made have arrived. Fails with kOverloaded, kDraining.
  template <typename T>
  void change(std::size_t named_bytes, Change<T> begin, Executor& home, Outcome<T> done);
  // Runs `then` on this thread once every shard has the views published so far. A shard looks at
  // its sockets before its posts: a client that heard of a change from one shard and asks another
  // must find it there.
  void when_views_arrived(Task then);
  // What a change that is under way takes of its bounds.
  struct OpenChange {
    BudgetHold place;
    BudgetHold bytes;
    void end() {
      place.release();
      bytes.release();
    }
  };
  // Fails with kOverloaded. Thread: any.
  Result<OpenChange> open_change(std::size_t named_bytes);

  const BrokerId self_;
  BlockingExecutor& blocking_;
  // Before the executor, whose tasks may hold of them when it goes.
  MemoryBudget open_changes_;
  MemoryBudget open_change_bytes_;
  std::unique_ptr<wire::AsioExecutor> executor_;
  std::unique_ptr<replication::LocalStore> store_;
  std::unique_ptr<replication::Controller> controller_;
  std::unique_ptr<replication::ProducerIds> producer_ids_;
  std::vector<Router::Peer> shards_;
  std::thread thread_;
};

}  // namespace tidelog::broker
