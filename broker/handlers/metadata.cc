#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

// For how many unknown names of a request the closest ones are looked for; the others of this shard
// wait meanwhile.
constexpr std::size_t kNamesWithClosestMax = 3;

flatbuffers::Offset<fb::TopicMetadata> known_topic(flatbuffers::FlatBufferBuilder& to, Shard& shard,
                                                   const replication::TopicView& topic) {
  std::vector<fb::PartitionMetadata> partitions;
  partitions.reserve(topic.partitions.size());
  for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    const replication::PartitionView& partition = topic.partitions[i];
    const std::size_t owner = shard.router().owner_of({topic.id, PartitionIndex(index)});
    partitions.emplace_back(index, partition.leader.value(), partition.leader_epoch.value(),
                            static_cast<std::int32_t>(owner));
  }
  const auto status = ok_status(to);
  const auto name = to.CreateString(topic.name);
  const auto listed = to.CreateVectorOfStructs(partitions);
  const fb::Uuid id = uuid(topic.id);
  const std::size_t batch_bytes_max = topic.settings.log_settings().batch_bytes_max;
  return fb::CreateTopicMetadata(to, status, name, &id, listed, topic.replication_factor,
                                 static_cast<std::uint32_t>(batch_bytes_max));
}

flatbuffers::Offset<fb::TopicMetadata> refused_topic(flatbuffers::FlatBufferBuilder& to,
                                                     std::string_view asked_name,
                                                     const fb::Uuid* asked_id, const Error& error) {
  const auto status = error_status(to, error);
  const auto name = to.CreateString(asked_name.data(), asked_name.size());
  return fb::CreateTopicMetadata(to, status, name, asked_id);
}

// Splits "HOST:PORT"; an IPv6 host loses its brackets.
std::pair<std::string, std::uint16_t> split_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {address, 0};
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return {std::move(host), static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1)))};
}

// An address that works from where the client came from: the one set, else the one by which it
// came.
flatbuffers::Offset<fb::BrokerMetadata> this_broker(flatbuffers::FlatBufferBuilder& to,
                                                    Shard& shard,
                                                    const ClientConnection& connection) {
  const BrokerContext& broker = shard.broker();
  auto [host, port] = split_address(connection.local_address());
  if (!broker.advertised_host.empty()) host = broker.advertised_host;
  if (broker.advertised_port != 0) port = broker.advertised_port;
  return fb::CreateBrokerMetadata(to, broker.id.value(), to.CreateString(host), port);
}

}  // namespace

void handle_metadata(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::MetadataRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::size_t names = request->names() != nullptr ? request->names()->size() : 0;
  const std::size_t ids = request->ids() != nullptr ? request->ids()->size() : 0;
  // A table can name the same bytes millions of times; each would be answered.
  if (names + ids > wire::kPartitionsPerRequestMax) {
    return ticket.fail(Error(ErrorCode::kTooLarge,
                             fmt::format("a metadata request names at most {} topics, not {}",
                                         wire::kPartitionsPerRequestMax, names + ids)));
  }
  const replication::ClusterView& view = *shard.topics().view();
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  std::vector<flatbuffers::Offset<fb::TopicMetadata>> topics;
  const bool named = names + ids > 0;
  // One topic may be named thousands of times, and have thousands of partitions.
  const std::size_t bytes_max = answer_bytes_max(ticket.connection());
  const auto fits = [&] { return to.GetSize() < bytes_max; };
  if (request->all() || !named) {
    for (const auto& [name, topic] : view.topics()) {
      if (fits()) topics.push_back(known_topic(to, shard, *topic));
    }
  }
  std::size_t unknown_names = 0;
  for (std::size_t i = 0; i < names && !request->all() && fits(); ++i) {
    const std::string_view name =
        request->names()->Get(static_cast<flatbuffers::uoffset_t>(i))->string_view();
    const replication::TopicView* topic = view.find(name);
    if (topic != nullptr) {
      topics.push_back(known_topic(to, shard, *topic));
      continue;
    }
    const bool with_closest = unknown_names++ < kNamesWithClosestMax;
    topics.push_back(
        refused_topic(to, name, nullptr, shard.topics().unknown_topic(name, with_closest)));
  }
  for (std::size_t i = 0; i < ids && !request->all() && fits(); ++i) {
    const fb::Uuid* id = request->ids()->Get(static_cast<flatbuffers::uoffset_t>(i));
    const replication::TopicView* topic = view.find(topic_id(*id));
    topics.push_back(topic != nullptr
                         ? known_topic(to, shard, *topic)
                         : refused_topic(to, "", id, shard.topics().unknown_topic(topic_id(*id))));
  }
  if (!fits()) {
    return ticket.fail(Error(
        ErrorCode::kTooLarge,
        fmt::format("broker {}: the metadata asked for is larger than a frame; name fewer topics",
                    shard.broker().id.value())));
  }
  const BrokerContext& broker = shard.broker();
  const auto status = ok_status(to);
  const flatbuffers::Offset<fb::BrokerMetadata> self = this_broker(to, shard, ticket.connection());
  const auto brokers = to.CreateVector(&self, 1);
  const auto listed = to.CreateVector(topics);
  const fb::Uuid cluster = uuid(TopicId::parse(broker.cluster_id).value_or(TopicId{}));
  to.Finish(fb::CreateMetadataAnswer(to, status, &cluster, broker.id.value(), brokers, listed));
  ticket.answer(to);
}

}  // namespace tidelog::broker
