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
constexpr std::size_t kOpenChangeBytesMax = 16 << 20;

}  // namespace

ControlThread::ControlThread(BrokerId self, BlockingExecutor& blocking)
    : self_(self),
      blocking_(blocking),
      open_changes_(kOpenChangesMax),
      open_change_bytes_(kOpenChangeBytesMax),
      executor_(std::make_unique<wire::AsioExecutor>()) {}

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
          if (--gathering->missing > 0) return;
          // Taken out: what it holds goes on this thread, not with a shard's reference, which may
          // be the last one.
          auto ready = std::exchange(gathering->ready, nullptr);
          ready(std::move(gathering->outcome));
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

Result<ControlThread::OpenChange> ControlThread::open_change(std::size_t named_bytes) {
  OpenChange change{.place = open_changes_.take_if_room(1),
                    .bytes = open_change_bytes_.take_if_room(named_bytes)};
  if (change.place && change.bytes) return change;
  return fail(ErrorCode::kOverloaded,
              change.place
                  ? fmt::format("changes of topics that name {} bytes are under way already",
                                open_change_bytes_.used())
                  : fmt::format("{} changes of topics are under way already", kOpenChangesMax));
}

template <typename T>
void ControlThread::change(std::size_t named_bytes, Change<T> begin, Executor& home,
                           Outcome<T> done) {
  Result<OpenChange> open = open_change(named_bytes);
  if (!open) {
    return home.post([error = std::move(open).error(), done = std::move(done)]() mutable {
      done(fail(std::move(error)));
    });
  }
  executor_->post([this, open = std::move(*open), begin = std::move(begin), &home,
                   done = std::move(done)]() mutable {
    auto answer = [this, open = std::move(open), &home,
                   done = std::move(done)](Result<T> outcome) mutable {
      open.end();
      when_views_arrived([&home, done = std::move(done), outcome = std::move(outcome)]() mutable {
        home.post([done = std::move(done), outcome = std::move(outcome)]() mutable {
          done(std::move(outcome));
        });
      });
    };
    if (!controller_) return answer(fail(ErrorCode::kDraining, "the broker is stopping"));
    begin(*controller_, std::move(answer));
  });
}

void ControlThread::create_topic(replication::NewTopic topic, Executor& home, CreateCallback done) {
  std::size_t named_bytes = topic.name.size();
  for (const auto& [name, value] : topic.settings.values) named_bytes += name.size() + value.size();
  change<TopicViewPointer>(
      named_bytes,
      [topic = std::move(topic)](replication::Controller& controller,
                                 Outcome<TopicViewPointer> answer) mutable {
        controller.create_topic(std::move(topic), std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::delete_topic(std::string name, Executor& home, DoneCallback done) {
  const std::size_t named_bytes = name.size();
  change<void>(
      named_bytes,
      [name = std::move(name)](replication::Controller& controller, Outcome<void> answer) mutable {
        controller.delete_topic(std::move(name), std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::alter_topic(std::string name, replication::Controller::SettingChanges changes,
                                Executor& home, DoneCallback done) {
  std::size_t named_bytes = name.size();
  for (const auto& [setting, value] : changes) {
    named_bytes += setting.size() + (value ? value->size() : 0);
  }
  change<void>(
      named_bytes,
      [name = std::move(name), changes = std::move(changes)](replication::Controller& controller,
                                                             Outcome<void> answer) mutable {
        controller.alter_topic(std::move(name), std::move(changes), std::move(answer));
      },
      home, std::move(done));
}

void ControlThread::add_partitions(std::string name, std::int32_t total, Executor& home,
                                   DoneCallback done) {
  const std::size_t named_bytes = name.size();
  change<void>(
      named_bytes,
      [name = std::move(name), total](replication::Controller& controller,
                                      Outcome<void> answer) mutable {
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
