#include "client/messages.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/message_tables.h"
#include "wire/limits.h"

namespace tidelog::client_core {
std::uint32_t decode_throttle_ms(std::span<const std::byte> table) {
  const auto* answer = wire::verified_table<fb::AnyAnswer>(table);
  return answer != nullptr && answer->status() != nullptr ? answer->status()->throttle_ms() : 0;
}

Table encode(const HelloRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::optional<fb::Uuid> cluster;
  if (request.cluster_id) {
    cluster.emplace(flatbuffers::span<const std::uint8_t, 16>(*request.cluster_id));
  }
  builder.Finish(fb::CreateHelloRequestDirect(
      builder, request.client_name.c_str(), request.client_version.c_str(), request.frame_bytes_max,
      nullptr, request.wanted_shard, cluster ? &*cluster : nullptr));
  return finished(builder);
}

Result<HelloAnswer> decode_hello(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::HelloAnswer* from, read_table<fb::HelloAnswer>(table, "hello"));
  HelloAnswer answer;
  answer.status = read_status(from->status());
  copy_uuid(from->cluster_id(), answer.cluster_id);
  answer.broker_id = BrokerId(from->broker_id());
  answer.broker_version = text(from->broker_version());
  each(from->apis(), [&](const fb::ApiRange& range) {
    answer.apis.push_back({.key = static_cast<wire::ApiKey>(range.key()),
                           .name = {},
                           .version_min = range.version_min(),
                           .version_max = range.version_max()});
  });
  answer.shard = from->shard();
  answer.shard_count = from->shard_count();
  answer.frame_bytes_max = from->frame_bytes_max();
  answer.batch_bytes_max = from->batch_bytes_max();
  answer.requests_in_flight_max = from->requests_in_flight_max();
  answer.bytes_in_flight_max = from->bytes_in_flight_max();
  answer.unsettled_batches_max = from->unsettled_batches_max();
  answer.idle_timeout_ms = from->idle_timeout_ms();
  return answer;
}

Table encode_ping() {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreatePingRequest(builder));
  return finished(builder);
}

Table encode_cancel(std::uint64_t correlation) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateCancelRequest(builder, correlation));
  return finished(builder);
}

Table encode(const MetadataRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  const auto names = builder.CreateVectorOfStrings(request.names);
  flatbuffers::Offset<flatbuffers::String> after;
  if (!request.after.empty()) after = builder.CreateString(request.after);
  builder.Finish(fb::CreateMetadataRequest(builder, names, 0, request.all, after));
  return finished(builder);
}

Result<MetadataAnswer> decode_metadata(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::MetadataAnswer* from, read_table<fb::MetadataAnswer>(table, "metadata"));
  MetadataAnswer answer;
  answer.status = read_status(from->status());
  answer.more = from->more();
  each(from->brokers(), [&](const fb::BrokerMetadata& broker) {
    answer.brokers.push_back({BrokerId(broker.id()), text(broker.host()), broker.port()});
  });
  each(from->topics(), [&](const fb::TopicMetadata& topic) {
    TopicMetadata& to = answer.topics.emplace_back();
    to.status = read_status(topic.status());
    to.name = text(topic.name());
    copy_uuid(topic.id(), to.id.bytes);
    to.replication_factor = topic.replication_factor();
    to.batch_bytes_max = topic.batch_bytes_max();
    each(topic.partitions(), [&](const fb::PartitionMetadata& partition) {
      const std::int32_t index = partition.partition();
      if (index < 0 || index >= wire::kPartitionsPerTopicMax) return;
      const auto at = static_cast<std::size_t>(index);
      if (to.partitions.size() <= at) to.partitions.resize(at + 1);
      to.partitions[at] = {BrokerId(partition.leader()), LeaderEpoch(partition.leader_epoch()),
                           std::max(partition.shard(), kAnyShard)};
    });
  });
  return answer;
}

Table encode(const CreateTopicRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<fb::Setting>> settings;
  settings.reserve(request.settings.size());
  for (const auto& [name, value] : request.settings) {
    settings.push_back(fb::CreateSettingDirect(builder, name.c_str(), value.c_str()));
  }
  builder.Finish(fb::CreateCreateTopicRequestDirect(builder, request.name.c_str(),
                                                    request.partitions, request.replication_factor,
                                                    &settings, request.deadline_ms));
  return finished(builder);
}

Result<AnswerStatus> decode_create_topic(std::span<const std::byte> table) {
  return decode_status_only<fb::CreateTopicAnswer>(table, "create topic");
}

Table encode(const DeleteTopicRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(
      fb::CreateDeleteTopicRequestDirect(builder, request.name.c_str(), request.deadline_ms));
  return finished(builder);
}

Result<AnswerStatus> decode_delete_topic(std::span<const std::byte> table) {
  return decode_status_only<fb::DeleteTopicAnswer>(table, "delete topic");
}

Table encode(const AlterTopicRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<fb::Setting>> settings;
  settings.reserve(request.settings.size() + request.defaults.size());
  for (const auto& [name, value] : request.settings) {
    settings.push_back(fb::CreateSettingDirect(builder, name.c_str(), value.c_str()));
  }
  for (const std::string& name : request.defaults) {
    settings.push_back(fb::CreateSettingDirect(builder, name.c_str(), nullptr, true));
  }
  builder.Finish(fb::CreateAlterTopicRequestDirect(builder, request.name.c_str(), &settings,
                                                   request.deadline_ms));
  return finished(builder);
}

Result<AnswerStatus> decode_alter_topic(std::span<const std::byte> table) {
  return decode_status_only<fb::AlterTopicAnswer>(table, "alter topic");
}

Table encode(const AddPartitionsRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateAddPartitionsRequestDirect(builder, request.name.c_str(), request.total,
                                                      request.deadline_ms));
  return finished(builder);
}

Result<AnswerStatus> decode_add_partitions(std::span<const std::byte> table) {
  return decode_status_only<fb::AddPartitionsAnswer>(table, "add partitions");
}

Table encode(const DeleteRecordsRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<fb::DeleteRecordsEntry> entries;
  entries.reserve(request.entries.size());
  for (const DeleteRecordsRequest::Entry& entry : request.entries) {
    entries.emplace_back(to_wire(entry.partition.topic), entry.partition.partition.value(), 0,
                         entry.before);
  }
  builder.Finish(fb::CreateDeleteRecordsRequestDirect(builder, &entries));
  return finished(builder);
}

Result<DeleteRecordsAnswer> decode_delete_records(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::DeleteRecordsAnswer* from,
                 read_table<fb::DeleteRecordsAnswer>(table, "delete records"));
  DeleteRecordsAnswer answer;
  answer.status = read_status(from->status());
  each(from->results(), [&](const fb::DeleteRecordsResult& result) {
    answer.results.push_back(
        {read_partition(result), read_status(result.status()), result.start_offset()});
  });
  return answer;
}

Table encode(const DescribeTopicRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateDescribeTopicRequestDirect(builder, request.name.c_str()));
  return finished(builder);
}

Result<DescribeTopicAnswer> decode_describe_topic(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::DescribeTopicAnswer* from,
                 read_table<fb::DescribeTopicAnswer>(table, "describe topic"));
  DescribeTopicAnswer answer;
  answer.status = read_status(from->status());
  answer.name = text(from->name());
  copy_uuid(from->id(), answer.id.bytes);
  each(from->settings(), [&](const fb::Setting& setting) {
    answer.settings.emplace(text(setting.name()), text(setting.value()));
  });
  each(from->partitions(), [&](const fb::PartitionDescription& partition) {
    DescribedPartition& to = answer.partitions.emplace_back();
    to.status = read_status(partition.status());
    to.partition = partition.partition();
    to.leader = partition.leader();
    to.leader_epoch = partition.leader_epoch();
    if (partition.replicas() != nullptr) {
      to.replicas.assign(partition.replicas()->begin(), partition.replicas()->end());
    }
    if (partition.isr() != nullptr) {
      to.isr.assign(partition.isr()->begin(), partition.isr()->end());
    }
    to.start_offset = partition.start_offset();
    to.high_watermark = partition.high_watermark();
    to.log_end_offset = partition.log_end_offset();
  });
  return answer;
}

Table encode(const ProduceRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<fb::ProduceEntry> entries;
  entries.reserve(request.entries.size());
  for (const ProduceEntry& entry : request.entries) {
    entries.emplace_back(to_wire(entry.partition.topic), entry.partition.partition.value(),
                         entry.bytes);
  }
  builder.Finish(fb::CreateProduceRequestDirect(builder, static_cast<fb::Acks>(request.acks),
                                                request.deadline_ms, &entries));
  return finished(builder);
}

Result<ProduceAnswer> decode_produce(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::ProduceAnswer* from, read_table<fb::ProduceAnswer>(table, "produce"));
  ProduceAnswer answer;
  answer.status = read_status(from->status());
  each(from->results(), [&](const fb::ProduceResult& result) {
    answer.results.push_back(
        {read_partition(result),
         read_status(result.status()),
         {.base_offset = result.base_offset(), .append_time_us = result.append_time_us()}});
  });
  return answer;
}

Table encode_init_producer_id() {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateInitProducerIdRequest(builder));
  return finished(builder);
}

Result<InitProducerIdAnswer> decode_init_producer_id(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::InitProducerIdAnswer* from,
                 read_table<fb::InitProducerIdAnswer>(table, "init producer id"));
  InitProducerIdAnswer answer{.status = read_status(from->status()),
                              .id = ProducerId(from->producer_id())};
  if (answer.status.ok() && (answer.id.value() < 0 || from->producer_epoch() != 0)) {
    return fail(ErrorCode::kMalformedFrame, "the answer has no producer id to begin with");
  }
  return answer;
}

Table encode(const FetchRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<fb::FetchPartition> changed;
  changed.reserve(request.changed.size());
  for (const FetchPartition& entry : request.changed) {
    changed.emplace_back(to_wire(entry.partition.topic), entry.partition.partition.value(),
                         entry.bytes_max, entry.offset.value(), entry.last_epoch.value(),
                         entry.leader_epoch.value());
  }
  std::vector<fb::ForgottenPartition> forgotten;
  forgotten.reserve(request.forgotten.size());
  for (const TopicPartition& partition : request.forgotten) {
    forgotten.emplace_back(to_wire(partition.topic), partition.partition.value());
  }
  builder.Finish(fb::CreateFetchRequestDirect(builder, request.session, &changed, &forgotten,
                                              request.min_bytes, request.max_wait_ms,
                                              request.bytes_max, request.close_session));
  return finished(builder);
}

Result<FetchAnswer> decode_fetch(std::span<const std::byte> table, std::size_t raw_bytes) {
  TIDELOG_ASSIGN(const fb::FetchAnswer* from, read_table<fb::FetchAnswer>(table, "fetch"));
  FetchAnswer answer;
  answer.status = read_status(from->status());
  answer.session = from->session();
  std::size_t sum = 0;
  each(from->results(), [&](const fb::FetchResult& result) {
    answer.results.push_back({.partition = read_partition(result),
                              .status = read_status(result.status()),
                              .high_watermark = result.high_watermark(),
                              .diverging_offset = result.diverging_offset(),
                              .sound_offset = result.sound_offset(),
                              .next_offset = result.next_offset(),
                              .bytes = result.bytes()});
    sum += result.bytes();
  });
  if (sum != raw_bytes) {
    return fail(
        ErrorCode::kMalformedFrame,
        fmt::format("a fetch answer names {} bytes of batches but carries {}", sum, raw_bytes));
  }
  return answer;
}

Table encode_list_offsets(std::span<const ListOffsetsEntry> entries) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<fb::ListOffsetsEntry> list;
  list.reserve(entries.size());
  for (const ListOffsetsEntry& entry : entries) {
    list.emplace_back(to_wire(entry.partition.topic), entry.partition.partition.value(), 0,
                      entry.timestamp_ms);
  }
  builder.Finish(fb::CreateListOffsetsRequestDirect(builder, &list));
  return finished(builder);
}

Result<ListOffsetsAnswer> decode_list_offsets(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::ListOffsetsAnswer* from,
                 read_table<fb::ListOffsetsAnswer>(table, "list offsets"));
  ListOffsetsAnswer answer;
  answer.status = read_status(from->status());
  each(from->results(), [&](const fb::ListOffsetsResult& result) {
    answer.results.push_back(
        {read_partition(result), read_status(result.status()), result.offset()});
  });
  return answer;
}

Result<Notice> decode_notice(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::Notice* from, read_table<fb::Notice>(table, "notice"));
  return Notice{static_cast<std::uint8_t>(from->kind()), read_status(from->status())};
}

}  // namespace tidelog::client_core
