#include "tests/sim/scripted_session.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "wire/record_batch.h"

namespace tidelog::sim {

void ScriptedSession::receive() {
  stream_->receive(read_, 1, [this](Result<std::size_t> count) {
    if (!count) return end();
    const auto self = shared_from_this();
    received_.insert(received_.end(), read_.begin(),
                     read_.begin() + static_cast<std::ptrdiff_t>(*count));
    while (!ended_ && take_frame()) {
    }
    if (!ended_) receive();
  });
}

void ScriptedSession::end() {
  if (std::exchange(ended_, true)) return;
  stream_->close();
  fetches_.end();
  const auto self = shared_from_this();
  std::erase(broker_.sessions_, self);
  broker_.executor_.post([self] {});  // it may be one of its own callbacks that got us here
}

void ScriptedSession::notice(fb::NoticeKind kind, const std::string& reason) {
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateNotice(to, kind, status(to, ErrorCode::kDraining, reason)));
  send(wire::ApiKey::kNotice, 0, to, {});
}

bool ScriptedSession::take_frame() {
  if (received_.size() < wire::kFramePrefixBytes) return false;
  const std::span<const std::byte, wire::kFramePrefixBytes> head(received_.data(),
                                                                 wire::kFramePrefixBytes);
  const auto prefix = wire::decode_frame_prefix(head, wire::kFrameBytesMax);
  TIDELOG_CHECK(prefix.has_value(), "a client sends well-formed prefixes");
  if (received_.size() < prefix->frame_bytes) return false;
  const std::span<const std::byte> frame(received_.data(), prefix->frame_bytes);
  TIDELOG_CHECK(
      wire::check_frame(head, frame.subspan(wire::kFramePrefixBytes,
                                            prefix->raw_position() - wire::kFramePrefixBytes))
          .has_value(),
      "a client sends frames with sound checksums");
  // Aligned, as tables must be.
  Buffer copy = Buffer::allocate(prefix->frame_bytes);
  std::memcpy(copy.data(), frame.data(), frame.size());
  received_.erase(received_.begin(), received_.begin() + prefix->frame_bytes);
  const std::span<const std::byte> bytes = copy.bytes();
  handle(*prefix, bytes.subspan(wire::kFramePrefixBytes, prefix->table_bytes),
         bytes.subspan(prefix->raw_position(), prefix->raw_bytes()));
  return true;
}

void ScriptedSession::handle(const wire::FramePrefix& prefix, std::span<const std::byte> table,
                             std::span<const std::byte> raw) {
  switch (static_cast<wire::ApiKey>(prefix.api_key)) {
    case wire::ApiKey::kHello:
      return hello(prefix.correlation, table);
    case wire::ApiKey::kPing:
      return ping(prefix.correlation);
    case wire::ApiKey::kCancel:
      return cancel(prefix.correlation, table);
    case wire::ApiKey::kMetadata:
      return metadata(prefix.correlation, table);
    case wire::ApiKey::kProduce:
      return produce(prefix.correlation, table, raw);
    case wire::ApiKey::kFetch:
      return fetches_.fetch(prefix.correlation, table);
    case wire::ApiKey::kListOffsets:
      return list_offsets(prefix.correlation, table);
    case wire::ApiKey::kInitProducerId:
      return init_producer_id(prefix.correlation);
    default:
      TIDELOG_CHECK(false, "the tests use no other API");
  }
}

void ScriptedSession::send(wire::ApiKey api, std::uint64_t correlation,
                           const flatbuffers::FlatBufferBuilder& table,
                           std::vector<SharedBytes> raw) {
  std::size_t raw_bytes = 0;
  for (const SharedBytes& piece : raw) raw_bytes += piece.size();
  const std::uint16_t flags = correlation == 0 ? 0 : wire::kFrameAnswer;
  raw.insert(
      raw.begin(),
      wire::encode_frame({.api = api, .version = 1, .correlation = correlation, .flags = flags},
                         table, raw_bytes, broker_.pool_));
  stream_->send(std::move(raw), nullptr);
}

void ScriptedSession::hello(std::uint64_t correlation, std::span<const std::byte> table) {
  ++broker_.counts.hellos;
  const fb::Uuid cluster = to_wire(TopicId{.bytes = {broker_.settings.cluster}});
  const auto& asked = read_request<fb::HelloRequest>(table);
  const fb::Uuid* expected = asked.cluster_id();
  flatbuffers::FlatBufferBuilder to;
  if (expected != nullptr && from_wire(*expected) != from_wire(cluster)) {
    const auto refused = status(to, ErrorCode::kWrongCluster, "this is another cluster");
    fb::HelloAnswerBuilder answer(to);
    answer.add_status(refused);
    to.Finish(answer.Finish());
    return send(wire::ApiKey::kHello, correlation, to, {});
  }
  greeted_ = true;
  const std::int32_t wanted = asked.wanted_shard();
  if (wanted >= 0 && wanted < broker_.settings.shards && broker_.settings.moves_connections) {
    shard_ = wanted;
  }
  std::vector<fb::ApiRange> apis;
  for (const wire::ApiInfo& api : wire::api_table()) {
    apis.emplace_back(static_cast<std::uint16_t>(api.key), api.version_min, api.version_max);
  }
  const auto ok = status(to, ErrorCode::kOk);
  const auto version = to.CreateString("scripted");
  const auto list = to.CreateVectorOfStructs(apis);
  fb::HelloAnswerBuilder answer(to);
  answer.add_status(ok);
  answer.add_cluster_id(&cluster);
  answer.add_broker_id(broker_.id_);
  answer.add_broker_version(version);
  answer.add_apis(list);
  answer.add_shard(shard_);
  answer.add_shard_count(broker_.settings.shards);
  answer.add_frame_bytes_max(wire::kFrameBytesMax);
  answer.add_batch_bytes_max(wire::kBatchBytesMax);
  answer.add_requests_in_flight_max(broker_.settings.requests_in_flight_max);
  answer.add_bytes_in_flight_max(static_cast<std::uint32_t>(broker_.settings.bytes_in_flight_max));
  answer.add_unsettled_batches_max(wire::kUnsettledBatchesMax);
  answer.add_idle_timeout_ms(broker_.settings.idle_timeout_ms);
  to.Finish(answer.Finish());
  send(wire::ApiKey::kHello, correlation, to, {});
}

void ScriptedSession::ping(std::uint64_t correlation) {
  ++broker_.counts.pings;
  flatbuffers::FlatBufferBuilder to;
  const auto answered = fb::CreateStatus(to, 0, 0, broker_.settings.ping_throttle_ms);
  to.Finish(fb::CreatePingAnswer(to, answered, 0));
  send(wire::ApiKey::kPing, correlation, to, {});
}

void ScriptedSession::metadata(std::uint64_t correlation, std::span<const std::byte> table) {
  ++broker_.counts.metadata;
  if (broker_.settings.metadata_unanswered > 0) {
    --broker_.settings.metadata_unanswered;
    return;
  }
  const auto& asked = read_request<fb::MetadataRequest>(table);
  flatbuffers::FlatBufferBuilder to;
  if (asked.names()->size() > wire::kPartitionsPerRequestMax ||
      std::ranges::any_of(*asked.names(), [](const auto* name) { return name->size() > 65'536; })) {
    to.Finish(fb::CreateMetadataAnswerDirect(to, status(to, ErrorCode::kTooLarge)));
    return send(wire::ApiKey::kMetadata, correlation, to, {});
  }
  std::vector<flatbuffers::Offset<fb::TopicMetadata>> topics;
  for (const auto* name : *asked.names()) {
    const auto at = broker_.topics_.find(name->str());
    const ErrorCode refused =
        broker_.on_metadata ? broker_.on_metadata(name->str()) : ErrorCode::kOk;
    if (refused != ErrorCode::kOk) {
      topics.push_back(fb::CreateTopicMetadataDirect(to, status(to, refused), name->c_str()));
      continue;
    }
    if (at == broker_.topics_.end()) {
      const std::string message = fmt::format("topic '{}' does not exist", name->str());
      topics.push_back(fb::CreateTopicMetadataDirect(
          to, status(to, ErrorCode::kUnknownTopic, message), name->c_str()));
      continue;
    }
    std::vector<fb::PartitionMetadata> partitions;
    partitions.reserve(at->second.partitions.size());
    for (std::size_t i = 0; i < at->second.partitions.size(); ++i) {
      const auto index = static_cast<std::int32_t>(i);
      partitions.emplace_back(index, broker_.id_, broker_.leader_epoch_, broker_.shard_of(index));
    }
    const fb::Uuid id = to_wire(at->second.id);
    topics.push_back(fb::CreateTopicMetadataDirect(to, status(to, ErrorCode::kOk), name->c_str(),
                                                   &id, &partitions, 1,
                                                   broker_.settings.topic_batch_bytes_max));
  }
  std::vector<flatbuffers::Offset<fb::BrokerMetadata>> brokers{fb::CreateBrokerMetadataDirect(
      to, broker_.id_, "sim",
      broker_.settings.advertised_port != 0 ? broker_.settings.advertised_port : broker_.port_)};
  to.Finish(fb::CreateMetadataAnswerDirect(to, status(to, ErrorCode::kOk), nullptr, broker_.id_,
                                           &brokers, &topics));
  send(wire::ApiKey::kMetadata, correlation, to, {});
}

void ScriptedSession::cancel(std::uint64_t correlation, std::span<const std::byte> table) {
  ++broker_.counts.cancels;
  const bool found = fetches_.cancel(read_request<fb::CancelRequest>(table).correlation());
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateCancelAnswer(to, status(to, ErrorCode::kOk), found));
  send(wire::ApiKey::kCancel, correlation, to, {});
}

void ScriptedSession::init_producer_id(std::uint64_t correlation) {
  ++broker_.counts.producer_ids;
  flatbuffers::FlatBufferBuilder to;
  if (broker_.settings.producer_ids_refused > 0) {
    --broker_.settings.producer_ids_refused;
    to.Finish(fb::CreateInitProducerIdAnswer(to, status(to, ErrorCode::kNotReady)));
  } else {
    to.Finish(fb::CreateInitProducerIdAnswer(to, status(to, ErrorCode::kOk),
                                             broker_.counts.producer_ids));
  }
  send(wire::ApiKey::kInitProducerId, correlation, to, {});
}

void ScriptedSession::produce(std::uint64_t correlation, std::span<const std::byte> table,
                              std::span<const std::byte> raw) {
  ++broker_.counts.produces;
  const auto& asked = read_request<fb::ProduceRequest>(table);
  flatbuffers::FlatBufferBuilder to;
  std::vector<flatbuffers::Offset<fb::ProduceResult>> results;
  bool silent = false;
  bool late = false;
  for (const fb::ProduceEntry* entry : *asked.entries()) {
    TIDELOG_CHECK(entry->bytes() <= raw.size(), "the entries' bytes are in the raw bytes");
    const std::span<const std::byte> batch = raw.first(entry->bytes());
    raw = raw.subspan(entry->bytes());
    const TopicPartition partition{from_wire(entry->topic()), PartitionIndex(entry->partition())};
    if (broker_.shard_of(entry->partition()) != shard_) ++broker_.counts.batches_elsewhere;
    std::int64_t base = -1;
    const ScriptedBroker::Verdict verdict = store(partition, batch, base);
    silent = silent || verdict.silent;
    late = late || verdict.late;
    if (verdict.cut) return end();
    const fb::Uuid topic = to_wire(partition.topic);
    results.push_back(fb::CreateProduceResult(
        to, &topic, entry->partition(),
        verdict.code == ErrorCode::kOk ? 0 : status(to, verdict.code),
        verdict.code == ErrorCode::kOk ? base : -1, broker_.settings.append_time_us));
  }
  TIDELOG_CHECK(raw.empty(), "the entries' bytes add up to the raw bytes");
  if (!silent && (asked.acks() != fb::Acks::None || broker_.settings.answers_one_way)) {
    to.Finish(fb::CreateProduceAnswerDirect(to, status(to, ErrorCode::kOk), &results));
    if (late) {
      broker_.executor_.run_after(std::chrono::milliseconds(asked.deadline_ms()),
                                  [self = shared_from_this(), correlation, answer = std::move(to)] {
                                    if (!self->ended_)
                                      self->send(wire::ApiKey::kProduce, correlation, answer, {});
                                  });
    } else {
      send(wire::ApiKey::kProduce, correlation, to, {});
    }
  }
  broker_.wake_fetches();
}

ScriptedBroker::Verdict ScriptedSession::store(const TopicPartition& partition,
                                               std::span<const std::byte> batch,
                                               std::int64_t& base_offset) {
  ScriptedLog* log = broker_.find(partition);
  if (log == nullptr) return {.code = ErrorCode::kUnknownTopic};
  if (batch.size() > broker_.settings.topic_batch_bytes_max) {
    return {.code = ErrorCode::kBatchTooLarge};
  }
  ScriptedBroker::Verdict verdict;
  if (broker_.on_produce) {
    verdict = broker_.on_produce(*broker_.name_of(partition.topic), partition.partition.value());
  }
  if (verdict.code != ErrorCode::kOk && !verdict.store) return verdict;
  const auto appended = log->append(batch, broker_.executor_.clock().wall_us());
  if (appended) {
    base_offset = appended->value();
  } else {
    verdict.code = appended.error().code();
  }
  return verdict;
}

void ScriptedSession::list_offsets(std::uint64_t correlation, std::span<const std::byte> table) {
  const auto& asked = read_request<fb::ListOffsetsRequest>(table);
  flatbuffers::FlatBufferBuilder to;
  std::vector<flatbuffers::Offset<fb::ListOffsetsResult>> results;
  for (const auto* entry : *asked.entries()) {
    const TopicPartition id{from_wire(entry->topic()), PartitionIndex(entry->partition())};
    const fb::Uuid topic = to_wire(id.topic);
    const ScriptedLog* log = broker_.find(id);
    std::int64_t offset = -1;
    if (log != nullptr) {
      const std::int64_t time = entry->timestamp_ms();
      if (time == -1) offset = log->end().value();
      if (time == -2) offset = log->start().value();
      if (time >= 0) offset = log->find_time(time).value_or(Offset(-1)).value();
    }
    results.push_back(fb::CreateListOffsetsResult(
        to, &topic, id.partition.value(), log == nullptr ? status(to, ErrorCode::kUnknownTopic) : 0,
        offset, 1));
  }
  to.Finish(fb::CreateListOffsetsAnswerDirect(to, status(to, ErrorCode::kOk), &results));
  send(wire::ApiKey::kListOffsets, correlation, to, {});
}

}  // namespace tidelog::sim
