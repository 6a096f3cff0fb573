#include "broker/control_thread.h"

#include <fmt/format.h>
#include <pthread.h>

#include <utility>

#include "base/logging.h"
#include "broker/awaited.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

constexpr std::size_t kOpenChangesMax = 1000;

}  // namespace

ControlThread::ControlThread(BrokerId self, BlockingExecutor& blocking)
    : self_(self), blocking_(blocking), executor_(std::make_unique<wire::AsioExecutor>()) {}

ControlThread::~ControlThread() { let_go(); }

void ControlThread::let_go() {
  if (thread_.joinable()) {
    executor_->stop();
    thread_.join();
  }
  producer_ids_.reset();
  controller_.reset();
  store_.reset();
}

Result<std::shared_ptr<const replication::ClusterView>> ControlThread::open(
    log::io::FileSystem& files, const std::string& path) {
  TIDELOG_ASSIGN(store_, replication::LocalStore::open(files, *executor_, blocking_,
                                                       {.path = path, .random_id = nullptr}));
  if (!store_->recovery_note().empty()) log_warning(store_->recovery_note());
  controller_ = std::make_unique<replication::Controller>(
      *store_, *executor_, self_,
      [this](std::shared_ptr<const replication::ClusterView> view) { publish(view); });
  producer_ids_ = std::make_unique<replication::ProducerIds>(*store_, *executor_);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "control");
    executor_->run();
  });
  Awaited<> loaded;
  executor_->post(
      [this, done = loaded.callback()]() mutable { controller_->load(std::move(done)); });
  TIDELOG_TRY(loaded.wait());
  Awaited<std::shared_ptr<const replication::ClusterView>> view;
  executor_->post([this, done = view.callback()] { done(controller_->view()); });
  return view.wait();
}

Result<> ControlThread::start(bool new_epochs, std::vector<Router::Peer> shards) {
  Awaited<> started;
  executor_->post(
      [this, new_epochs, shards = std::move(shards), done = started.callback()]() mutable {
        shards_ = std::move(shards);
        controller_->on_create(
            [this](TopicViewPointer topic, replication::Controller::TopicReady ready) {
              on_all_shards(
                  topic,
                  [](Shard& shard, const TopicViewPointer& made, Topics::DoneCallback report) {
                    shard.topics().create(made, std::move(report));
                  },
                  std::move(ready));
            });
        controller_->on_delete(
            [this](TopicViewPointer topic, replication::Controller::TopicReady ready) {
              on_all_shards(
                  topic,
                  [](Shard& shard, const TopicViewPointer& gone, Topics::DoneCallback report) {
                    shard.topics().drop(gone, std::move(report));
                  },
                  std::move(ready));
            });
        controller_->on_alter(
            [this](TopicViewPointer topic, replication::Controller::TopicReady ready) {
              on_all_shards(
                  topic,
                  [](Shard& shard, const TopicViewPointer& now, Topics::DoneCallback report) {
                    shard.topics().apply(now);
                    report({});
                  },
                  std::move(ready));
            });
        publish(controller_->view());
        controller_->start(new_epochs, std::move(done));
      });
  return started.wait();
}

void ControlThread::publish(const std::shared_ptr<const replication::ClusterView>& view) {
  for (const Router::Peer& peer : shards_) {
    peer.executor->post([shard = peer.shard, view] { shard->topics().set_view(view); });
  }
}

void ControlThread::on_all_shards(const TopicViewPointer& topic, const OnShard& work,
                                  replication::Controller::TopicReady ready) {
  struct Gathering {
    std::size_t missing;
    Result<> outcome;
    replication::Controller::TopicReady ready;
  };
  const auto gathering = std::make_shared<Gathering>(shards_.size(), Result<>(), std::move(ready));
  for (const Router::Peer& peer : shards_) {
    peer.executor->post([this, work, topic, gathering, shard = peer.shard] {
      work(*shard, topic, [this, gathering](Result<> result) {
        executor_->post([gathering, result = std::move(result)] {
          if (!result && gathering->outcome) gathering->outcome = result;
          if (--gathering->missing == 0) gathering->ready(std::move(gathering->outcome));
        });
      });
    });
  }
}

void ControlThread::when_views_arrived(Task then) {
  on_all_shards(
      nullptr, [](Shard&, const TopicViewPointer&, Topics::DoneCallback report) { report({}); },
      [then = std::move(then)](const Result<>&) mutable { then(); });
}

Result<> ControlThread::begin_change() {
  if (open_changes_.fetch_add(1, std::memory_order_relaxed) < kOpenChangesMax) return {};
  end_change();
  return fail(ErrorCode::kOverloaded,
              fmt::format("{} changes of topics are under way already", kOpenChangesMax));
}

void ControlThread::create_topic(replication::NewTopic topic, Executor& home, CreateCallback done) {
  if (Result<> may = begin_change(); !may) {
    return home.post([may = std::move(may), done = std::move(done)]() mutable {
      done(fail(std::move(may).error()));
    });
  }
  executor_->post([this, topic = std::move(topic), &home, done = std::move(done)]() mutable {
    auto answer = [this, &home, done = std::move(done)](Result<TopicViewPointer> created) mutable {
      end_change();
      when_views_arrived([&home, done = std::move(done), created = std::move(created)]() mutable {
        home.post([done = std::move(done), created = std::move(created)]() mutable {
          done(std::move(created));
        });
      });
    };
    if (!controller_) return answer(fail(ErrorCode::kDraining, "the broker is stopping"));
    controller_->create_topic(std::move(topic), std::move(answer));
  });
}

void ControlThread::change(Change begin, Executor& home, DoneCallback done) {
  if (Result<> may = begin_change(); !may) {
    return home.post(
        [may = std::move(may), done = std::move(done)]() mutable { done(std::move(may)); });
  }
  executor_->post([this, begin = std::move(begin), &home, done = std::move(done)]() mutable {
    auto answer = [this, &home, done = std::move(done)](Result<> changed) mutable {
      end_change();
      when_views_arrived([&home, done = std::move(done), changed = std::move(changed)]() mutable {
        home.post([done = std::move(done), changed = std::move(changed)]() mutable {
          done(std::move(changed));
        });
      });
    };
    if (!controller_) return answer(fail(ErrorCode::kDraining, "the broker is stopping"));
    begin(*controller_, std::move(answer));
  });
}

void ControlThread::delete_topic(std::string name, Executor& home, DoneCallback done) {
  change(
      [name = std::move(name)](replication::Controller& controller,
                               replication::Controller::DoneCallback answer) mutable {
        controller.delete_topic(std::move(name), std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::alter_topic(std::string name, replication::Controller::SettingChanges changes,
                                Executor& home, DoneCallback done) {
  change(
      [name = std::move(name), changes = std::move(changes)](
          replication::Controller& controller,
          replication::Controller::DoneCallback answer) mutable {
        controller.alter_topic(std::move(name), std::move(changes), std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::add_partitions(std::string name, std::int32_t total, Executor& home,
                                   DoneCallback done) {
  change(
      [name = std::move(name), total](replication::Controller& controller,
                                      replication::Controller::DoneCallback answer) mutable {
        controller.add_partitions(std::move(name), total, std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::allocate_producer_id(Executor& home, ProducerIdCallback done) {
  executor_->post([this, &home, done = std::move(done)]() mutable {
    auto answer = [&home, done = std::move(done)](Result<ProducerId> id) mutable {
      home.post([done = std::move(done), id = std::move(id)]() mutable { done(std::move(id)); });
    };
    if (!producer_ids_) return answer(fail(ErrorCode::kDraining, "the broker is stopping"));
    producer_ids_->allocate(std::move(answer));
  });
}

Result<> ControlThread::close(std::chrono::steady_clock::time_point deadline) {
  if (!thread_.joinable()) return {};
  Awaited<> closed;
  executor_->post([this, done = closed.callback()]() mutable {
    producer_ids_.reset();
    controller_.reset();
    store_->close(std::move(done));
  });
  Result<> outcome = closed.wait_until(deadline, "closing the metadata store");
  executor_->stop();
  thread_.join();
  return outcome;
}

}  // namespace tidelog::broker
