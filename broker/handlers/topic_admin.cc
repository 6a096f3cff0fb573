// Create, delete and describe topic. The control thread decides; tickets wait on their shard
// meanwhile.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "broker/calls.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/topic_calls.h"
#include "broker/shard.h"

namespace tidelog::broker {
void handle_create_topic(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::CreateTopicRequest>(frame, ticket);
  if (request == nullptr) return;
  replication::NewTopic topic;
  topic.name = text(request->name());
  // Before anything is kept: a name of any length may come.
  if (const Result<> sound = replication::check_topic_name(topic.name); !sound) {
    return ticket.fail(of_broker(shard, sound.error()));
  }
  if (const Result<> sound = check_named(request->settings()); !sound) {
    return ticket.fail(of_broker(shard, sound.error()));
  }
  topic.partitions =
      request->partitions() != 0 ? request->partitions() : shard.broker().default_partitions.load();
  topic.replication_factor = request->replication_factor();
  if (request->settings() != nullptr) {
    for (const fb::Setting* setting : *request->settings()) {
      const std::string name = text(setting->name());
      const Result<> set = topic.settings.set(name, text(setting->value()));
      if (!set) return ticket.fail(of_broker(shard, set.error()));
    }
  }
  const std::uint64_t kept = keep_until(shard, std::move(ticket), request->deadline_ms(),
                                        fmt::format("the creation of topic '{}'", topic.name));
  shard.broker().control->create_topic(
      std::move(topic), shard.executor(),
      [&shard, kept](Result<std::shared_ptr<const replication::TopicView>> created) {
        const RequestTicket waiting = shard.take_kept(kept);
        if (!waiting) return;
        if (!created) return waiting.fail(of_broker(shard, created.error()));
        flatbuffers::FlatBufferBuilder& to = shard.builder();
        const auto status = ok_status(to);
        const fb::Uuid id = uuid((*created)->id);
        to.Finish(fb::CreateCreateTopicAnswer(to, status, &id));
        waiting.answer(to);
      });
}

void handle_delete_topic(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::DeleteTopicRequest>(frame, ticket);
  if (request == nullptr) return;
  std::string name = text(request->name());
  if (shard.topics().view()->find(name) == nullptr) {
    return ticket.fail(shard.topics().unknown_topic(name));
  }
  const std::uint64_t kept = keep_until(shard, std::move(ticket), request->deadline_ms(),
                                        fmt::format("the deletion of topic '{}'", name));
  shard.broker().control->delete_topic(
      std::move(name), shard.executor(),
      answer_kept(shard, kept, [](flatbuffers::FlatBufferBuilder& to) {
        const auto status = ok_status(to);
        to.Finish(fb::CreateDeleteTopicAnswer(to, status));
      }));
}

namespace {

struct PartitionState {
  std::int32_t partition = 0;
  std::optional<Error> error;
  Offset start_offset{-1};
  Offset high_watermark{-1};
  Offset log_end_offset{-1};
};

class DescribeTopicCall final : public Call {
 public:
  DescribeTopicCall(Shard& shard, RequestTicket ticket,
                    std::shared_ptr<const replication::TopicView> topic)
      : shard_(shard),
        ticket_(std::move(ticket)),
        topic_(std::move(topic)),
        states_(topic_->partitions.size()),
        missing_(shard.router().shard_count()) {}

  const std::shared_ptr<const replication::TopicView>& topic() const { return topic_; }

  // What one shard knows of its partitions.
  void settle(std::vector<PartitionState> states) {
    for (PartitionState& state : states) {
      states_[static_cast<std::size_t>(state.partition)] = std::move(state);
    }
    if (--missing_ > 0) return;
    answer();
    shard_.calls().remove(*this);  // destroys this
  }

 private:
  void answer();

  Shard& shard_;
  RequestTicket ticket_;
  const std::shared_ptr<const replication::TopicView> topic_;
  std::vector<PartitionState> states_;
  std::size_t missing_;
};

std::vector<std::int32_t> numbers(const std::vector<BrokerId>& brokers) {
  std::vector<std::int32_t> ids;
  ids.reserve(brokers.size());
  for (const BrokerId broker : brokers) ids.push_back(broker.value());
  return ids;
}

void DescribeTopicCall::answer() {
  flatbuffers::FlatBufferBuilder& to = shard_.builder();
  std::vector<flatbuffers::Offset<fb::Setting>> settings;
  for (const replication::TopicSettingInfo& info : replication::topic_setting_table()) {
    const auto set = topic_->settings.values.find(info.name);
    const bool is_default = set == topic_->settings.values.end();
    const std::string_view value = is_default ? info.default_value : set->second;
    const auto name = to.CreateString(info.name.data(), info.name.size());
    const auto written = to.CreateString(value.data(), value.size());
    settings.push_back(fb::CreateSetting(to, name, written, is_default));
  }
  std::vector<flatbuffers::Offset<fb::PartitionDescription>> partitions;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const PartitionState& state = states_[i];
    const replication::PartitionView& view = topic_->partitions[i];
    flatbuffers::Offset<fb::Status> status;
    if (state.error) status = one_of_many_errors(to, ticket_.connection(), *state.error);
    const auto replicas = to.CreateVector(numbers(view.replicas));
    const auto isr = to.CreateVector(numbers(view.isr));
    partitions.push_back(fb::CreatePartitionDescription(
        to, status, static_cast<std::int32_t>(i), view.leader.value(), view.leader_epoch.value(),
        replicas, isr, state.start_offset.value(), state.high_watermark.value(),
        state.log_end_offset.value()));
  }
  const auto status = ok_status(to);
  const auto name = to.CreateString(topic_->name);
  const fb::Uuid id = uuid(topic_->id);
  const auto listed_settings = to.CreateVector(settings);
  const auto listed = to.CreateVector(partitions);
  to.Finish(fb::CreateDescribeTopicAnswer(to, status, name, &id, listed_settings, listed));
  ticket_.answer(to);
}

std::optional<Error> what_is_wrong(const log::PartitionLog& log) {
  if (log.health() == log::LogHealth::kLossy) {
    return Error(ErrorCode::kLostData, "acknowledged records are missing on this disk");
  }
  if (log.health() == log::LogHealth::kFailed) {
    return Error(ErrorCode::kStorageFailed, "a write failed: the log takes no records");
  }
  const std::vector<log::Hole> damaged = log.damaged_ranges();
  if (damaged.empty()) return std::nullopt;
  std::string text = fmt::format("offsets {} to {}", damaged.front().begin.value(),
                                 damaged.front().end.value() - 1);
  if (damaged.size() > 1) text += fmt::format(" and {} more ranges", damaged.size() - 1);
  return Error(ErrorCode::kCorruptData,
               text + " are damaged on this disk; what is around them can be read");
}

// On each shard: the partitions it owns.
std::vector<PartitionState> describe_owned(Shard& owner, const replication::TopicView& topic) {
  std::vector<PartitionState> states;
  for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
    const TopicPartition id{topic.id, PartitionIndex(static_cast<std::int32_t>(i))};
    if (owner.router().owner_of(id) != owner.index()) continue;
    PartitionState& state = states.emplace_back();
    state.partition = id.partition.value();
    const Partition* partition = owner.topics().find(id);
    if (partition == nullptr) {
      state.error = owner.topics().not_served(id);
      continue;
    }
    state.start_offset = partition->log->log_start();
    state.high_watermark = partition->replica->high_watermark();
    state.log_end_offset = partition->log->log_end();
    if (auto wrong = what_is_wrong(*partition->log)) {
      state.error = owner.topics().located(id, *wrong);
    }
  }
  return states;
}

}  // namespace

void handle_describe_topic(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::DescribeTopicRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::string name = text(request->name());
  const auto found = shard.topics().view()->topics().find(name);
  if (found == shard.topics().view()->topics().end()) {
    return ticket.fail(shard.topics().unknown_topic(name));
  }
  // A short request may take megabytes until every shard has told what it knows.
  const std::size_t bytes = found->second->partitions.size() * sizeof(PartitionState);
  if (const Result<> fits = ticket.reserve(bytes); !fits) return ticket.fail(fits.error());
  auto& call = shard.calls().add<DescribeTopicCall>(shard, std::move(ticket), found->second);
  const std::shared_ptr<const replication::TopicView> topic = found->second;
  for (std::size_t i = 0; i < shard.router().shard_count(); ++i) {
    shard.router().send(i, [home = shard.index(), call = &call, topic](Shard* owner) {
      owner->router().send(home, [call, states = describe_owned(*owner, *topic)](Shard*) mutable {
        call->settle(std::move(states));
      });
    });
  }
}

}  // namespace tidelog::broker
