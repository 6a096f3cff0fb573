#include "client/admin/cluster_messages.h"

#include <array>

#include "client/message_tables.h"

namespace tidelog::client_core {
namespace {

// In the order of the enumerations in protocol.fbs; a newer broker may send more.
constexpr std::array<std::string_view, 4> kStates = {"starting", "serving", "draining",
                                                     "storage_failed"};
constexpr std::array<std::string_view, 4> kDurabilities = {"stable", "weaker", "not_stable",
                                                           "network"};
constexpr std::array<std::string_view, 5> kOrigins = {"default", "file", "environment", "flag",
                                                      "live"};

template <typename Enum, std::size_t kCount>
std::string word(Enum value, const std::array<std::string_view, kCount>& words) {
  const auto at = static_cast<std::size_t>(value);
  return std::string(at < kCount ? words[at] : "unknown");
}

}  // namespace

Table encode_cluster_status() {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateClusterStatusRequest(builder));
  return finished(builder);
}

Result<ClusterStatusAnswer> decode_cluster_status(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::ClusterStatusAnswer* from,
                 read_table<fb::ClusterStatusAnswer>(table, "cluster status"));
  ClusterStatusAnswer answer;
  answer.status = read_status(from->status());
  copy_uuid(from->cluster_id(), answer.cluster_id);
  answer.controller = from->controller();
  answer.metadata = text(from->metadata());
  each(from->brokers(), [&](const fb::BrokerStatus& broker) {
    BrokerStatus& to = answer.brokers.emplace_back();
    to.id = broker.id();
    to.address = text(broker.address());
    to.admin = text(broker.admin());
    to.state = word(broker.state(), kStates);
    to.version = text(broker.version());
    to.durability = word(broker.durability(), kDurabilities);
    to.storage = text(broker.storage());
    each(broker.warnings(),
         [&to](const flatbuffers::String& warning) { to.warnings.push_back(warning.str()); });
    to.partitions = broker.partitions();
    to.leaders = broker.leaders();
    to.started_ms = broker.started_ms();
  });
  return answer;
}

Table encode(const BrokerSettingsRequest& request) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<fb::SettingChange>> changes;
  changes.reserve(request.changes.size());
  for (const auto& [name, value] : request.changes) {
    changes.push_back(fb::CreateSettingChangeDirect(builder, name.c_str(), value.c_str()));
  }
  builder.Finish(fb::CreateBrokerSettingsRequestDirect(builder, &changes));
  return finished(builder);
}

Result<BrokerSettingsAnswer> decode_broker_settings(std::span<const std::byte> table) {
  TIDELOG_ASSIGN(const fb::BrokerSettingsAnswer* from,
                 read_table<fb::BrokerSettingsAnswer>(table, "broker settings"));
  BrokerSettingsAnswer answer;
  answer.status = read_status(from->status());
  answer.broker_id = from->broker_id();
  each(from->settings(), [&](const fb::BrokerSetting& setting) {
    answer.settings.push_back({.name = text(setting.name()),
                               .value = text(setting.value()),
                               .origin = word(setting.origin(), kOrigins),
                               .is_live = setting.live(),
                               .type = text(setting.type()),
                               .default_value = text(setting.default_value()),
                               .meaning = text(setting.meaning())});
  });
  return answer;
}

}  // namespace tidelog::client_core
