#include "tests/sim/scripted_broker.h"

#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "tests/sim/scripted_session.h"
#include "wire/batch_builder.h"

namespace tidelog::sim {

ScriptedBroker::ScriptedBroker(SimExecutor& executor, SimNetwork& network, std::uint16_t port,
                               std::int32_t id)
    : executor_(executor), network_(network), port_(port), id_(id) {
  start();
}

ScriptedBroker::~ScriptedBroker() { stop(); }

void ScriptedBroker::start() {
  ++leader_epoch_;
  auto listener = network_.listen(
      {.host = "sim", .port = port_}, [this](std::unique_ptr<wire::Connection> stream) {
        const bool refused = sessions_.size() >= settings.connections_max;
        const std::int32_t shard = next_shard_++ % settings.shards;
        const auto session = std::make_shared<ScriptedSession>(*this, std::move(stream), shard);
        sessions_.push_back(session);
        if (!refused) return session->receive();
        ++counts.refused_connections;
        session->notice(fb::NoticeKind::Closing, "too many connections");
        session->end();
      });
  TIDELOG_CHECK(listener.has_value(), "a scripted broker has a port of its own");
  listener_ = std::move(*listener);
}

void ScriptedBroker::stop() {
  listener_.reset();
  while (!sessions_.empty()) sessions_.back()->end();
}

TopicId ScriptedBroker::create_topic(const std::string& name, std::int32_t partitions) {
  Topic topic;
  topic.id.bytes[0] = 7;
  store_le<std::uint64_t>(reinterpret_cast<std::byte*>(&topic.id.bytes[8]), next_topic_++);
  const TopicId id = topic.id;
  topics_.insert_or_assign(name, std::move(topic));
  add_partitions(name, partitions);
  return id;
}

void ScriptedBroker::add_partitions(const std::string& name, std::int32_t total) {
  Topic& topic = topics_.at(name);
  while (topic.partitions.size() < static_cast<std::size_t>(total)) {
    const PartitionIndex index(static_cast<std::int32_t>(topic.partitions.size()));
    topic.partitions.push_back(std::make_unique<ScriptedLog>(TopicPartition{topic.id, index}));
  }
}

void ScriptedBroker::delete_topic(const std::string& name) {
  topics_.erase(name);
  wake_fetches();
}

ScriptedLog& ScriptedBroker::log(const std::string& topic, std::int32_t partition) {
  return *topics_.at(topic).partitions.at(static_cast<std::size_t>(partition));
}

void ScriptedBroker::append(const std::string& topic, std::int32_t partition,
                            const std::vector<std::string>& values, std::vector<std::int64_t> times,
                            wire::Codec codec) {
  wire::BatchBuilder builder;
  for (std::size_t i = 0; i < values.size(); ++i) {
    wire::RecordView record;
    record.value = values[i];
    builder.add(i < times.size() ? times[i] : executor_.clock().wall_us() / 1000, record);
  }
  const TopicPartition id{topics_.at(topic).id, PartitionIndex(partition)};
  const auto batch = builder.finish(codec, wire::batch_seed(id), {}, pool_);
  TIDELOG_CHECK(batch.has_value(), "the codec is supported");
  TIDELOG_CHECK(
      log(topic, partition).append(batch->bytes(), executor_.clock().wall_us()).has_value(),
      "the batch is sound");
  wake_fetches();
}

void ScriptedBroker::announce_draining() {
  for (const auto& session : sessions_) session->notice(fb::NoticeKind::Draining, "stopping soon");
}

void ScriptedBroker::talk_nonsense() {
  for (const auto& session : sessions_) session->ping(1'000'000'000);
}

void ScriptedBroker::close_with_notice(const std::string& reason) {
  const auto sessions = sessions_;
  for (const auto& session : sessions) {
    session->notice(fb::NoticeKind::Closing, reason);
    session->end();
  }
}

std::map<std::int32_t, int> ScriptedBroker::connections() const {
  std::map<std::int32_t, int> count;
  for (const auto& session : sessions_) {
    if (session->greeted()) ++count[session->shard()];
  }
  return count;
}

const std::string* ScriptedBroker::name_of(const TopicId& id) const {
  for (const auto& [name, topic] : topics_) {
    if (topic.id == id) return &name;
  }
  return nullptr;
}

ScriptedLog* ScriptedBroker::find(const TopicPartition& partition) {
  const std::string* name = name_of(partition.topic);
  if (name == nullptr) return nullptr;
  const auto& partitions = topics_.at(*name).partitions;
  const auto index = static_cast<std::size_t>(partition.partition.value());
  return index < partitions.size() ? partitions[index].get() : nullptr;
}

void ScriptedBroker::wake_fetches() {
  const auto sessions = sessions_;
  for (const auto& session : sessions) session->wake();
}

}  // namespace tidelog::sim
