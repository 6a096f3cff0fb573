// The settings of this broker: read, and changed where they may change while it runs.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/named_settings.h"
#include "broker/live_settings.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

fb::SettingOrigin to_wire(SettingOrigin origin) {
  switch (origin) {
    case SettingOrigin::kDefault:
      return fb::SettingOrigin::Default;
    case SettingOrigin::kFile:
      return fb::SettingOrigin::File;
    case SettingOrigin::kEnvironment:
      return fb::SettingOrigin::Environment;
    case SettingOrigin::kFlag:
      return fb::SettingOrigin::Flag;
    case SettingOrigin::kLive:
      return fb::SettingOrigin::Live;
  }
  return fb::SettingOrigin::Default;
}

Result<> make_changes(Shard& shard, const ClientConnection& connection,
                      const fb::BrokerSettingsRequest& request) {
  if (request.changes() == nullptr || request.changes()->size() == 0) return {};
  TIDELOG_TRY(check_named(request.changes()));
  LiveSettings::Changes changes;
  for (const fb::SettingChange* change : *request.changes()) {
    changes.emplace_back(text(change->name()), text(change->value()));
  }
  return shard.broker().settings->change(changes, connection.peer_address());
}

flatbuffers::Offset<fb::BrokerSetting> encode(flatbuffers::FlatBufferBuilder& to,
                                              const SettingValue& setting) {
  const SettingInfo& info = *setting.info;
  const auto view = [&to](std::string_view from) {
    return to.CreateString(from.data(), from.size());
  };
  const auto name = view(info.name);
  const auto value = view(setting.value);
  const auto type = view(info.type);
  const auto default_value = view(info.default_value);
  const auto meaning = view(info.meaning);
  return fb::CreateBrokerSetting(to, name, value, to_wire(setting.origin),
                                 info.change == SettingChange::kLive, type, default_value, meaning);
}

}  // namespace

void handle_broker_settings(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::BrokerSettingsRequest>(frame, ticket);
  if (request == nullptr) return;
  const std::int32_t self = shard.broker().id.value();
  if (const Result<> changed = make_changes(shard, ticket.connection(), *request); !changed) {
    return ticket.fail(changed.error().with_context(fmt::format("broker {}", self)));
  }
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  std::vector<flatbuffers::Offset<fb::BrokerSetting>> settings;
  for (const SettingValue& setting : shard.broker().settings->values()) {
    settings.push_back(encode(to, setting));
  }
  const auto listed = to.CreateVector(settings);
  const auto status = ok_status(to);
  to.Finish(fb::CreateBrokerSettingsAnswer(to, status, self, listed));
  ticket.answer(to);
}

}  // namespace tidelog::broker
