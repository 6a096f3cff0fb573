#include "tidelog/admin.h"

#include <fmt/format.h>

#include <chrono>
#include <future>

#include "base/random.h"
#include "client/admin/cluster_messages.h"
#include "client/control_calls.h"
#include "client/driver.h"
#include "client/durations.h"
#include "client/public_error.h"

namespace tidelog::client {

namespace core = client_core;

class Admin::Impl {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  explicit Impl(const ConnectOptions& options)
      : timeout_(core::bounded(options.request_timeout)),
        pool_options_(core::to_pool_options(options)) {
    if (!pool_options_) return;  // every call says so
    driver_.run([this] {
      pool_ = std::make_unique<core::BrokerPool>(driver_.network(), driver_.executor(),
                                                 *driver_.buffers(), *pool_options_, random_id());
      calls_ = std::make_unique<core::ControlCalls>(driver_.executor(), *pool_);
      pool_->on_change([this] { calls_->advance(); });
    });
  }

  ~Impl() {
    close(std::chrono::milliseconds(0));
    driver_.run([this] {
      calls_.reset();
      pool_.reset();
    });
  }

  // When a public call that begins now must end, however many requests it takes.
  Deadline begin() const { return std::chrono::steady_clock::now() + timeout_; }

  tidelog::Result<SharedBytes> call(wire::ApiKey api, core::Table request) {
    return call(api, std::move(request), begin());
  }
  // Sends a request to any broker and waits for the answer's table.
  tidelog::Result<SharedBytes> call(wire::ApiKey api, core::Table request, Deadline deadline) {
    if (!pool_options_) return fail(pool_options_.error());
    if (driver_.on_thread()) {
      return fail(ErrorCode::kInvalidArgument, "Admin cannot be called in its own log callback");
    }
    auto promise = std::make_shared<std::promise<tidelog::Result<SharedBytes>>>();
    auto future = promise->get_future();
    const auto left = core::bounded(
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()));
    driver_.executor().post([this, promise, api, left, request = std::move(request)]() mutable {
      if (closed_) return promise->set_value(fail(ErrorCode::kCancelled, "the admin is closed"));
      calls_->call(api, std::move(request), left, [promise](tidelog::Result<SharedBytes> answer) {
        promise->set_value(std::move(answer));
      });
    });
    return future.get();
  }

  bool close(std::chrono::milliseconds deadline) {
    if (!pool_options_) return true;
    return driver_.run_within(core::bounded(deadline) + core::kCallbackPatience, [this] {
      closed_ = true;
      const tidelog::Error reason(ErrorCode::kCancelled, "the admin was closed");
      calls_->cancel_all(reason);
      pool_->shut_down(reason);
    });
  }

  std::uint32_t deadline_ms() const { return core::broker_deadline_ms(timeout_); }

 private:
  const std::chrono::milliseconds timeout_;
  const tidelog::Result<core::PoolOptions> pool_options_;
  core::Driver driver_;
  std::unique_ptr<core::BrokerPool> pool_;
  std::unique_ptr<core::ControlCalls> calls_;
  bool closed_ = false;  // the driver's thread only
};

namespace {

Status to_status(tidelog::Result<core::AnswerStatus> status) {
  if (!status) return core::to_public(status.error());
  if (!status->ok()) return core::to_public(status->error());
  return Nothing{};
}

PartitionDescription to_public(const core::DescribedPartition& from) {
  return {.partition = from.partition,
          .leader = from.leader,
          .leader_epoch = from.leader_epoch,
          .replicas = from.replicas,
          .isr = from.isr,
          .start_offset = from.start_offset,
          .high_watermark = from.high_watermark,
          .log_end_offset = from.log_end_offset,
          .problem = from.status.ok() ? std::string() : from.status.error().to_string()};
}

BrokerStatus to_public(core::BrokerStatus from) {
  return {.id = from.id,
          .address = std::move(from.address),
          .admin = std::move(from.admin),
          .state = std::move(from.state),
          .version = std::move(from.version),
          .durability = std::move(from.durability),
          .storage = std::move(from.storage),
          .warnings = std::move(from.warnings),
          .partitions = from.partitions,
          .leaders = from.leaders,
          .started_ms = from.started_ms};
}

Result<BrokerSettings> to_public(tidelog::Result<core::BrokerSettingsAnswer> answer) {
  if (!answer) return core::to_public(answer.error());
  if (!answer->status.ok()) return core::to_public(answer->status.error());
  BrokerSettings settings{.broker = answer->broker_id};
  for (core::BrokerSetting& setting : answer->settings) {
    settings.settings.push_back({.name = std::move(setting.name),
                                 .value = std::move(setting.value),
                                 .origin = std::move(setting.origin),
                                 .is_live = setting.is_live,
                                 .type = std::move(setting.type),
                                 .default_value = std::move(setting.default_value),
                                 .meaning = std::move(setting.meaning)});
  }
  return settings;
}

}  // namespace

Admin::Admin(ConnectOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Admin::~Admin() = default;

bool Admin::close(std::chrono::milliseconds deadline) { return impl_->close(deadline); }

Status Admin::create_topic(const NewTopic& topic) {
  core::CreateTopicRequest request;
  request.name = topic.name;
  request.partitions = topic.partitions;
  request.replication_factor = topic.replication_factor;
  request.settings = topic.settings;
  request.deadline_ms = impl_->deadline_ms();
  const auto table = impl_->call(wire::ApiKey::kCreateTopic, core::encode(request));
  if (!table) return core::to_public(table.error());
  return to_status(core::decode_create_topic(table->bytes()));
}

Status Admin::delete_topic(const std::string& name) {
  core::DeleteTopicRequest request;
  request.name = name;
  request.deadline_ms = impl_->deadline_ms();
  const auto table = impl_->call(wire::ApiKey::kDeleteTopic, core::encode(request));
  if (!table) return core::to_public(table.error());
  return to_status(core::decode_delete_topic(table->bytes()));
}

Status Admin::alter_topic(const std::string& name, const TopicChange& change) {
  core::AlterTopicRequest request;
  request.name = name;
  request.settings = change.settings;
  request.defaults = change.defaults;
  request.deadline_ms = impl_->deadline_ms();
  const auto table = impl_->call(wire::ApiKey::kAlterTopic, core::encode(request));
  if (!table) return core::to_public(table.error());
  return to_status(core::decode_alter_topic(table->bytes()));
}

Status Admin::add_partitions(const std::string& name, std::int32_t total) {
  core::AddPartitionsRequest request;
  request.name = name;
  request.total = total;
  request.deadline_ms = impl_->deadline_ms();
  const auto table = impl_->call(wire::ApiKey::kAddPartitions, core::encode(request));
  if (!table) return core::to_public(table.error());
  return to_status(core::decode_add_partitions(table->bytes()));
}

Result<std::vector<TrimmedPartition>> Admin::delete_records(
    const std::string& name, const std::map<std::int32_t, std::int64_t>& before) {
  const Impl::Deadline deadline = impl_->begin();
  const auto known = impl_->call(wire::ApiKey::kDescribeTopic,
                                 core::encode(core::DescribeTopicRequest{name}), deadline);
  if (!known) return core::to_public(known.error());
  const auto topic = core::decode_describe_topic(known->bytes());
  if (!topic) return core::to_public(topic.error());
  if (!topic->status.ok()) return core::to_public(topic->status.error());
  core::DeleteRecordsRequest request;
  for (const auto& [partition, offset] : before) {
    request.entries.push_back({{topic->id, PartitionIndex(partition)}, offset});
  }
  const auto table = impl_->call(wire::ApiKey::kDeleteRecords, core::encode(request), deadline);
  if (!table) return core::to_public(table.error());
  const auto answer = core::decode_delete_records(table->bytes());
  if (!answer) return core::to_public(answer.error());
  if (!answer->status.ok()) return core::to_public(answer->status.error());
  std::vector<TrimmedPartition> trimmed;
  for (const core::DeleteRecordsAnswer::Trimmed& result : answer->results) {
    trimmed.push_back(
        {.partition = result.partition.partition.value(),
         .start_offset = result.start_offset,
         .problem = result.status.ok() ? std::string() : result.status.error().to_string()});
  }
  return trimmed;
}

Result<std::vector<TopicSummary>> Admin::list_topics() {
  core::MetadataRequest request;
  request.all = true;
  std::vector<TopicSummary> topics;
  const Impl::Deadline deadline = impl_->begin();
  for (bool more = true; more;) {
    const auto table = impl_->call(wire::ApiKey::kMetadata, core::encode(request), deadline);
    if (!table) return core::to_public(table.error());
    const auto answer = core::decode_metadata(table->bytes());
    if (!answer) return core::to_public(answer.error());
    if (!answer->status.ok()) return core::to_public(answer->status.error());
    for (const core::TopicMetadata& topic : answer->topics) {
      topics.push_back({.name = topic.name,
                        .topic_id = topic.id.to_string(),
                        .partitions = static_cast<std::int32_t>(topic.partitions.size()),
                        .replication_factor = topic.replication_factor});
    }
    // A page without topics, or one that does not go on, would be asked for for ever.
    more = answer->more && !topics.empty() && topics.back().name > request.after;
    if (more) request.after = topics.back().name;
  }
  return topics;
}

Result<TopicDescription> Admin::describe_topic(const std::string& name) {
  const auto table =
      impl_->call(wire::ApiKey::kDescribeTopic, core::encode(core::DescribeTopicRequest{name}));
  if (!table) return core::to_public(table.error());
  const auto answer = core::decode_describe_topic(table->bytes());
  if (!answer) return core::to_public(answer.error());
  if (!answer->status.ok()) return core::to_public(answer->status.error());
  TopicDescription topic;
  topic.name = answer->name;
  topic.topic_id = answer->id.to_string();
  topic.settings = answer->settings;
  for (const core::DescribedPartition& partition : answer->partitions) {
    topic.partitions.push_back(to_public(partition));
  }
  return topic;
}

Result<ClusterStatus> Admin::cluster_status() {
  const auto table = impl_->call(wire::ApiKey::kClusterStatus, core::encode_cluster_status());
  if (!table) return core::to_public(table.error());
  auto answer = core::decode_cluster_status(table->bytes());
  if (!answer) return core::to_public(answer.error());
  if (!answer->status.ok()) return core::to_public(answer->status.error());
  ClusterStatus cluster{.cluster_id = TopicId{answer->cluster_id}.to_string(),
                        .controller = answer->controller,
                        .metadata = std::move(answer->metadata)};
  for (core::BrokerStatus& broker : answer->brokers) {
    cluster.brokers.push_back(to_public(std::move(broker)));
  }
  return cluster;
}

Result<BrokerSettings> Admin::broker_settings() { return change_broker_settings({}); }

Result<BrokerSettings> Admin::change_broker_settings(
    const std::map<std::string, std::string>& changes) {
  core::BrokerSettingsRequest request;
  request.changes.assign(changes.begin(), changes.end());
  const auto table = impl_->call(wire::ApiKey::kBrokerSettings, core::encode(request));
  if (!table) return core::to_public(table.error());
  return to_public(core::decode_broker_settings(table->bytes()));
}

}  // namespace tidelog::client
