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

// The topics of one answer, as many as fit.
class Page {
 public:
  Page(Shard& shard, flatbuffers::FlatBufferBuilder& to, std::size_t bytes_max)
      : shard_(shard), to_(to), bytes_max_(bytes_max) {}

  void add_all_behind(std::string_view name) {
    const auto& topics = shard_.topics().view()->topics();
    for (auto at = topics.upper_bound(name); at != topics.end() && has_room(); ++at) {
      topics_.push_back(known_topic(to_, shard_, *at->second));
    }
  }

  void add_named(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>& names) {
    std::size_t unknown_names = 0;
    for (const flatbuffers::String* asked : names) {
      if (!has_room()) return;
      const std::string_view name = asked->string_view();
      const replication::TopicView* topic = shard_.topics().view()->find(name);
      if (topic != nullptr) {
        topics_.push_back(known_topic(to_, shard_, *topic));
      } else if (name.size() > wire::kTopicNameBytesMax) {
        refuse(name, replication::check_topic_name(name).error());
      } else {
        const bool with_closest = unknown_names++ < kNamesWithClosestMax;
        refuse(name, shard_.topics().unknown_topic(name, with_closest));
      }
    }
  }

  void add_of_ids(const flatbuffers::Vector<const fb::Uuid*>& ids) {
    for (const fb::Uuid* id : ids) {
      if (!has_room()) return;
      const replication::TopicView* topic = shard_.topics().view()->find(topic_id(*id));
      topics_.push_back(
          topic != nullptr
              ? known_topic(to_, shard_, *topic)
              : refused_topic(to_, "", id, shard_.topics().unknown_topic(topic_id(*id))));
    }
  }

  const std::vector<flatbuffers::Offset<fb::TopicMetadata>>& topics() const { return topics_; }
  // Something that was asked for is missing.
  bool more() const { return more_; }

 private:
  // One topic may be named thousands of times, and have thousands of partitions. The first always
  // fits, or nobody would get on.
  bool has_room() {
    more_ = more_ || (!topics_.empty() && to_.GetSize() >= bytes_max_);
    return !more_;
  }
  void refuse(std::string_view name, const Error& error) {
    topics_.push_back(refused_topic(to_, name, nullptr, error));
  }

  Shard& shard_;
  flatbuffers::FlatBufferBuilder& to_;
  const std::size_t bytes_max_;
  std::vector<flatbuffers::Offset<fb::TopicMetadata>> topics_;
  bool more_ = false;
};

// A table can name the same bytes millions of times; each would be answered.
Result<> check_request(const fb::MetadataRequest& request, BrokerId broker) {
  const std::size_t names = request.names() != nullptr ? request.names()->size() : 0;
  const std::size_t ids = request.ids() != nullptr ? request.ids()->size() : 0;
  if (names + ids > wire::kPartitionsPerRequestMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a metadata request names at most {} topics, not {}",
                            wire::kPartitionsPerRequestMax, names + ids));
  }
  for (std::size_t i = 0; i < names; ++i) {
    const std::size_t bytes = request.names()->Get(static_cast<flatbuffers::uoffset_t>(i))->size();
    if (bytes <= kNameBytesMax) continue;
    return fail(
        ErrorCode::kTooLarge,
        fmt::format("broker {}: a name of {} bytes cannot be repeated", broker.value(), bytes));
  }
  return {};
}

}  // namespace

void handle_metadata(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::MetadataRequest>(frame, ticket);
  if (request == nullptr) return;
  const BrokerContext& broker = shard.broker();
  if (const Result<> sound = check_request(*request, broker.id); !sound) {
    return ticket.fail(sound.error());
  }
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  Page page(shard, to, std::min(kPageBytes, answer_bytes_max(ticket.connection()) / 2));
  const bool named = (request->names() != nullptr && request->names()->size() > 0) ||
                     (request->ids() != nullptr && request->ids()->size() > 0);
  if (request->all() || !named) {
    page.add_all_behind(request->after() != nullptr ? request->after()->string_view() : "");
  } else {
    if (request->names() != nullptr) page.add_named(*request->names());
    if (request->ids() != nullptr) page.add_of_ids(*request->ids());
  }
  const auto status = ok_status(to);
  const flatbuffers::Offset<fb::BrokerMetadata> self = this_broker(to, shard, ticket.connection());
  const auto brokers = to.CreateVector(&self, 1);
  const auto listed = to.CreateVector(page.topics());
  const fb::Uuid cluster = uuid(TopicId::parse(broker.cluster_id).value_or(TopicId{}));
  to.Finish(fb::CreateMetadataAnswer(to, status, &cluster, broker.id.value(), brokers, listed,
                                     page.more()));
  ticket.answer(to);
}

}  // namespace tidelog::broker
