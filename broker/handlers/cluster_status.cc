// Cluster status: this broker tells of itself.
#include <algorithm>
#include <string>
#include <vector>

#include "broker/advertised_address.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

fb::BrokerState state_of(Shard& shard) {
  if (shard.broker().storage_failed.load(std::memory_order_relaxed)) {
    return fb::BrokerState::StorageFailed;
  }
  return shard.draining() ? fb::BrokerState::Draining : fb::BrokerState::Serving;
}

fb::Durability durability_of(log::io::Stability stability) {
  switch (stability) {
    case log::io::Stability::kStable:
      return fb::Durability::Stable;
    case log::io::Stability::kWeaker:
      return fb::Durability::Weaker;
    case log::io::Stability::kNotStable:
      return fb::Durability::NotStable;
    case log::io::Stability::kNetwork:
      return fb::Durability::Network;
  }
  return fb::Durability::NotStable;
}

struct ReplicaCounts {
  std::int32_t replicas = 0;
  std::int32_t leaders = 0;
};

ReplicaCounts count_replicas(const replication::ClusterView& view, BrokerId self) {
  ReplicaCounts counts;
  for (const auto& [name, topic] : view.topics()) {
    for (const replication::PartitionView& partition : topic->partitions) {
      if (std::ranges::find(partition.replicas, self) != partition.replicas.end())
        ++counts.replicas;
      if (partition.leader == self) ++counts.leaders;
    }
  }
  return counts;
}

flatbuffers::Offset<fb::BrokerStatus> this_broker(flatbuffers::FlatBufferBuilder& to, Shard& shard,
                                                  const ClientConnection& connection) {
  const BrokerContext& broker = shard.broker();
  const auto address = to.CreateString(advertised_address(shard, connection).to_string());
  flatbuffers::Offset<flatbuffers::String> admin;
  if (const HostPort pages = admin_address(shard, connection); pages.port != 0) {
    admin = to.CreateString(pages.to_string());
  }
  const auto version = to.CreateString(broker.version);
  const auto storage = to.CreateString(broker.storage->summary);
  const auto warnings = to.CreateVectorOfStrings(broker.storage->warnings);
  const ReplicaCounts counts = count_replicas(*shard.topics().view(), broker.id);
  fb::BrokerStatusBuilder status(to);
  status.add_id(broker.id.value());
  status.add_address(address);
  if (!admin.IsNull()) status.add_admin(admin);
  status.add_state(state_of(shard));
  status.add_version(version);
  status.add_durability(durability_of(broker.storage->file_system.stability));
  status.add_storage(storage);
  status.add_warnings(warnings);
  status.add_partitions(counts.replicas);
  status.add_leaders(counts.leaders);
  status.add_started_ms(broker.started_ms);
  return status.Finish();
}

}  // namespace

void handle_cluster_status(Shard& shard, RequestTicket ticket, Frame frame) {
  if (request_table<fb::ClusterStatusRequest>(frame, ticket) == nullptr) return;
  const BrokerContext& broker = shard.broker();
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  const auto self = this_broker(to, shard, ticket.connection());
  const auto brokers = to.CreateVector(&self, 1);
  const auto metadata = to.CreateString("local");
  const auto status = ok_status(to);
  const fb::Uuid cluster = uuid(TopicId::parse(broker.cluster_id).value_or(TopicId{}));
  to.Finish(
      fb::CreateClusterStatusAnswer(to, status, &cluster, broker.id.value(), metadata, brokers));
  ticket.answer(to);
}

}  // namespace tidelog::broker
