#include <fmt/format.h>

#include <algorithm>

#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

// Names clients give themselves end up in the log.
constexpr std::size_t kClientNameBytesMax = 100;

std::string printable(const flatbuffers::String* text) {
  if (text == nullptr) return {};
  std::string name = text->str().substr(0, kClientNameBytesMax);
  std::ranges::replace_if(name, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return name;
}

Result<> check_hello(Shard& shard, const fb::HelloRequest& request) {
  const BrokerContext& broker = shard.broker();
  const auto cluster = TopicId::parse(broker.cluster_id);
  if (request.cluster_id() != nullptr) {
    const TopicId expected = topic_id(*request.cluster_id());
    if (!expected.is_nil() && expected != cluster) {
      return fail(ErrorCode::kWrongCluster,
                  fmt::format("broker {} belongs to cluster {}, not to {}", broker.id.value(),
                              broker.cluster_id, expected.to_string()));
    }
  }
  const std::size_t needed = broker.batch_bytes_max + wire::kFrameOverheadBytesMax;
  if (request.frame_bytes_max() < needed) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("the client takes frames of {} bytes; a batch of broker {} may need {}",
                            request.frame_bytes_max(), broker.id.value(), needed));
  }
  if (request.features() != nullptr && request.features()->size() > 0) {
    return fail(ErrorCode::kUnsupportedFeature,
                fmt::format("broker {} does not know feature '{}'", broker.id.value(),
                            printable(request.features()->Get(0))));
  }
  return {};
}

}  // namespace

void handle_hello(Shard& shard, RequestTicket ticket, Frame frame) {
  const auto* request = request_table<fb::HelloRequest>(frame, ticket);
  if (request == nullptr) return;
  if (ticket.connection().greeted()) {
    return ticket.fail(Error(ErrorCode::kInvalidArgument, "a connection has one hello"));
  }
  if (const Result<> accepted = check_hello(shard, *request); !accepted) {
    return ticket.fail(accepted.error());
  }
  const Greeting greeting{.head = ticket.head(),
                          .client_name = printable(request->client_name()),
                          .frame_bytes_max = request->frame_bytes_max()};
  const std::int32_t wanted = request->wanted_shard();
  const bool exists =
      wanted >= 0 && static_cast<std::size_t>(wanted) < shard.router().shard_count();
  if (exists && static_cast<std::size_t>(wanted) != shard.index() &&
      ticket.connection().move_to(static_cast<std::size_t>(wanted), greeting)) {
    return;  // answered there
  }
  answer_hello(shard, std::move(ticket), greeting);
}

void answer_hello(Shard& shard, RequestTicket ticket, const Greeting& greeting) {
  ticket.connection().greet(greeting);

  const BrokerContext& broker = shard.broker();
  flatbuffers::FlatBufferBuilder& to = shard.builder();
  const auto status = ok_status(to);
  const auto version = to.CreateString(broker.version);
  std::vector<fb::ApiRange> ranges;
  for (const wire::ApiInfo& api : wire::api_table()) {
    if (api.key == wire::ApiKey::kNotice) continue;
    ranges.emplace_back(static_cast<std::uint16_t>(api.key), api.version_min, api.version_max);
  }
  const auto apis = to.CreateVectorOfStructs(ranges);
  const fb::Uuid cluster = uuid(TopicId::parse(broker.cluster_id).value_or(TopicId{}));
  fb::HelloAnswerBuilder answer(to);
  answer.add_status(status);
  answer.add_cluster_id(&cluster);
  answer.add_broker_id(broker.id.value());
  answer.add_broker_version(version);
  answer.add_apis(apis);
  // Where the connection is served: on the shard asked for, if there is one.
  answer.add_shard(static_cast<std::int32_t>(shard.index()));
  answer.add_shard_count(static_cast<std::int32_t>(shard.router().shard_count()));
  answer.add_frame_bytes_max(static_cast<std::uint32_t>(broker.limits.frame_bytes_max));
  answer.add_batch_bytes_max(static_cast<std::uint32_t>(broker.batch_bytes_max));
  answer.add_requests_in_flight_max(broker.limits.requests_in_flight_max);
  answer.add_bytes_in_flight_max(static_cast<std::uint32_t>(broker.limits.bytes_in_flight_max));
  answer.add_unsettled_batches_max(wire::kUnsettledBatchesMax);
  answer.add_idle_timeout_ms(static_cast<std::uint32_t>(broker.limits.idle_timeout.count()));
  to.Finish(answer.Finish());
  ticket.answer(to);
}

}  // namespace tidelog::broker
