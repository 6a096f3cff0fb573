#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "broker/advertised_address.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

// For how many unknown names of a request the closest ones are looked for; the others of this shard
// wait meanwhile.
constexpr std::size_t kNamesWithClosestMax = 3;
// About as much is answered at once; the others of this shard wait meanwhile.
constexpr std::size_t kPageBytes = 1 << 20;
// The answer repeats the names that were asked for.
constexpr std::size_t kNameBytesMax = 64 << 10;

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

flatbuffers::Offset<fb::BrokerMetadata> this_broker(flatbuffers::FlatBufferBuilder& to,
                                                    Shard& shard,
                                                    const ClientConnection& connection) {
  const HostPort address = advertised_address(shard, connection);
  return fb::CreateBrokerMetadata(to, shard.broker().id.value(), to.CreateString(address.host),
                                  address.port);
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
  if (request->names() != nullptr) {
    for (const flatbuffers::String* name : *request->names()) {
      if (name->size() <= kNameBytesMax) continue;
      return ticket.fail(Error(ErrorCode::kTooLarge,
                               fmt::format("broker {}: a name of {} bytes cannot be repeated",
                                           shard.broker().id.value(), name->size())));
    }
  }
  const replication::ClusterView& view = *shard.topics().view();
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  std::vector<flatbuffers::Offset<fb::TopicMetadata>> topics;
  const bool named = names + ids > 0;
  // One topic may be named thousands of times, and have thousands of partitions. The first always
  // fits, or nobody would get on.
  const std::size_t bytes_max = std::min(kPageBytes, answer_bytes_max(ticket.connection()) / 2);
  const auto fits = [&] { return topics.empty() || to.GetSize() < bytes_max; };
  bool more = false;
  if (request->all() || !named) {
    const std::string_view after =
        request->after() != nullptr ? request->after()->string_view() : std::string_view();
    for (auto at = view.topics().upper_bound(after); at != view.topics().end() && !more; ++at) {
      more = !fits();
      if (!more) topics.push_back(known_topic(to, shard, *at->second));
    }
  }
  std::size_t unknown_names = 0;
  for (std::size_t i = 0; i < names && !request->all() && !more; ++i) {
    const std::string_view name =
        request->names()->Get(static_cast<flatbuffers::uoffset_t>(i))->string_view();
    more = !fits();
    if (more) break;
    const replication::TopicView* topic = view.find(name);
    if (topic != nullptr) {
      topics.push_back(known_topic(to, shard, *topic));
      continue;
    }
    if (const Result<> sound = replication::check_topic_name(name);
        !sound && name.size() > wire::kTopicNameBytesMax) {
      topics.push_back(refused_topic(to, name, nullptr, sound.error()));
      continue;
    }
    const bool with_closest = unknown_names++ < kNamesWithClosestMax;
    topics.push_back(
        refused_topic(to, name, nullptr, shard.topics().unknown_topic(name, with_closest)));
  }
  for (std::size_t i = 0; i < ids && !request->all() && !more; ++i) {
    const fb::Uuid* id = request->ids()->Get(static_cast<flatbuffers::uoffset_t>(i));
    more = !fits();
    if (more) break;
    const replication::TopicView* topic = view.find(topic_id(*id));
    topics.push_back(topic != nullptr
                         ? known_topic(to, shard, *topic)
                         : refused_topic(to, "", id, shard.topics().unknown_topic(topic_id(*id))));
  }
  const BrokerContext& broker = shard.broker();
  const auto status = ok_status(to);
  const flatbuffers::Offset<fb::BrokerMetadata> self = this_broker(to, shard, ticket.connection());
  const auto brokers = to.CreateVector(&self, 1);
  const auto listed = to.CreateVector(topics);
  const fb::Uuid cluster = uuid(TopicId::parse(broker.cluster_id).value_or(TopicId{}));
  to.Finish(
      fb::CreateMetadataAnswer(to, status, &cluster, broker.id.value(), brokers, listed, more));
  ticket.answer(to);
}

}  // namespace tidelog::broker
