#include "broker/handlers/handlers.h"
#include "broker/handlers/topic_calls.h"

namespace tidelog::broker {

void handle_alter_topic(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::AlterTopicRequest>(frame, ticket);
  if (request == nullptr) return;
  std::string name = text(request->name());
  if (shard.topics().view()->find(name) == nullptr) {
    return ticket.fail(shard.topics().unknown_topic(name));
  }
  if (const Result<> sound = check_named(request->settings()); !sound) {
    return ticket.fail(of_broker(shard, sound.error()));
  }
  replication::Controller::SettingChanges changes;
  if (request->settings() != nullptr) {
    for (const fb::Setting* setting : *request->settings()) {
      std::optional<std::string> value;
      if (!setting->is_default()) value = text(setting->value());
      changes.emplace_back(text(setting->name()), std::move(value));
    }
  }
  if (changes.empty()) {
    return ticket.fail(of_broker(
        shard, Error(ErrorCode::kInvalidArgument, "alter_topic names no setting to change")));
  }
  const std::uint64_t kept = keep_until(shard, std::move(ticket), request->deadline_ms(),
                                        fmt::format("the change of topic '{}'", name));
  shard.broker().control->alter_topic(
      std::move(name), std::move(changes), shard.executor(),
      answer_kept(shard, kept, [](flatbuffers::FlatBufferBuilder& to) {
        const auto status = ok_status(to);
        to.Finish(fb::CreateAlterTopicAnswer(to, status));
      }));
}

}  // namespace tidelog::broker
