#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "broker/advertised_address.h"
#include "broker/handlers/answers.h"
#include "broker/handlers/handlers.h"
#include "broker/shard.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

// A sentence may repeat what came, which may be as long as a frame; the answer's frame may not.
constexpr std::size_t kSentenceBytesMax = 4096;

std::string_view sentence(const Error& error) {
  const std::string_view message = error.message();
  if (message.size() <= kSentenceBytesMax) return message;
  // Not inside a character of UTF-8: its first byte is one of four at most.
  std::size_t end = kSentenceBytesMax;
  while (end > kSentenceBytesMax - 3 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) {
    --end;
  }
  return message.substr(0, end);
}

flatbuffers::Offset<flatbuffers::String> write_sentence(flatbuffers::FlatBufferBuilder& to,
                                                        const Error& error) {
  const std::string_view text = sentence(error);
  return to.CreateString(text.data(), text.size());
}

}  // namespace

flatbuffers::Offset<fb::Status> ok_status(flatbuffers::FlatBufferBuilder& to,
                                          std::uint32_t throttle_ms) {
  return fb::CreateStatus(to, 0, 0, throttle_ms);
}

void write_notice(flatbuffers::FlatBufferBuilder& to, NoticeKind kind, const Error& reason) {
  const auto status = error_status(to, reason);
  to.Finish(fb::CreateNotice(
      to, kind == NoticeKind::kClosing ? fb::NoticeKind::Closing : fb::NoticeKind::Draining,
      status));
}

flatbuffers::Offset<fb::Status> error_status(flatbuffers::FlatBufferBuilder& to,
                                             const Error& error) {
  const auto message = write_sentence(to, error);
  return fb::CreateStatus(to, static_cast<std::uint16_t>(error.code()), message);
}

std::size_t answer_bytes_max(const ClientConnection& peer) {
  return std::min(peer.peer_frame_bytes_max(), peer.shard().broker().limits.frame_bytes_max) -
         wire::kFrameOverheadBytesMax;
}

flatbuffers::Offset<fb::Status> one_of_many_errors(flatbuffers::FlatBufferBuilder& to,
                                                   const ClientConnection& peer,
                                                   const Error& error) {
  // An entry without its sentence takes about 100 bytes: the most that a request may name fit into
  // the other three quarters of the smallest frame.
  static_assert(wire::kPartitionsPerRequestMax * 150 <= wire::kBatchBytesMax / 4 * 3);
  if (to.GetSize() < answer_bytes_max(peer) / 4) return error_status(to, error);
  return fb::CreateStatus(to, static_cast<std::uint16_t>(error.code()));
}

flatbuffers::Offset<fb::Status> partition_error_status(flatbuffers::FlatBufferBuilder& to,
                                                       ClientConnection& peer,
                                                       const TopicPartition& id,
                                                       const Error& error) {
  const bool elsewhere =
      error.code() == ErrorCode::kNotLeader || error.code() == ErrorCode::kFencedLeaderEpoch;
  Shard& shard = peer.shard();
  const replication::TopicView* topic = elsewhere ? shard.topics().view()->find(id.topic) : nullptr;
  const auto index = static_cast<std::size_t>(id.partition.value());
  if (topic == nullptr || index >= topic->partitions.size()) return error_status(to, error);
  const replication::PartitionView& partition = topic->partitions[index];
  const auto message = write_sentence(to, error);
  flatbuffers::Offset<flatbuffers::String> address;
  // The only broker whose address is known; without others it leads everything.
  if (partition.leader == shard.broker().id) {
    address = to.CreateString(advertised_address(shard, peer).to_string());
  }
  return fb::CreateStatus(to, static_cast<std::uint16_t>(error.code()), message, 0,
                          partition.leader.value(), address, partition.leader_epoch.value());
}

flatbuffers::Offset<fb::Status> one_of_many_errors(flatbuffers::FlatBufferBuilder& to,
                                                   ClientConnection& peer, const TopicPartition& id,
                                                   const Error& error) {
  if (to.GetSize() < answer_bytes_max(peer) / 4) return partition_error_status(to, peer, id, error);
  return one_of_many_errors(to, peer, error);
}

Error draining_error(Shard& shard) {
  return {ErrorCode::kDraining, fmt::format("broker {} is stopping", shard.broker().id.value())};
}

void dispatch(Shard& shard, RequestTicket ticket, Frame frame) {
  const std::uint16_t key = frame.prefix.api_key;
  const std::uint16_t version = frame.prefix.api_version;
  const wire::ApiInfo* api = wire::api_info(key);
  const std::int32_t broker = shard.broker().id.value();
  if (api == nullptr || api->key == wire::ApiKey::kNotice) {
    return ticket.fail(Error(ErrorCode::kUnsupportedApi,
                             fmt::format("broker {} does not know API {}", broker, key)));
  }
  if (version < api->version_min || version > api->version_max) {
    return ticket.fail(
        Error(ErrorCode::kUnsupportedVersion,
              fmt::format("broker {} speaks versions {} to {} of {}, not version {}", broker,
                          api->version_min, api->version_max, api->name, version)));
  }
  const bool greeted = ticket.connection().greeted();
  if (!greeted && api->key != wire::ApiKey::kHello && api->key != wire::ApiKey::kPing) {
    return ticket.fail(
        Error(ErrorCode::kHelloRequired, fmt::format("{} came before a hello", api->name)));
  }
  // Produce is refused by its handler, which knows whether an answer is wanted.
  const bool changes =
      (api->key >= wire::ApiKey::kCreateTopic && api->key <= wire::ApiKey::kDeleteRecords &&
       api->key != wire::ApiKey::kDescribeTopic) ||
      api->key == wire::ApiKey::kInitProducerId;
  if (shard.draining() && changes) return ticket.fail(draining_error(shard));
  switch (api->key) {
    case wire::ApiKey::kNotice:
      return;  // refused above
    case wire::ApiKey::kHello:
      return handle_hello(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kPing:
      return handle_ping(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kCancel:
      return handle_cancel(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kMetadata:
      return handle_metadata(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kCreateTopic:
      return handle_create_topic(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kDeleteTopic:
      return handle_delete_topic(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kDescribeTopic:
      return handle_describe_topic(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kAlterTopic:
      return handle_alter_topic(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kAddPartitions:
      return handle_add_partitions(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kDeleteRecords:
      return handle_delete_records(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kProduce:
      return handle_produce(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kFetch:
      return handle_fetch(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kListOffsets:
      return handle_list_offsets(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kEpochEnd:
      return handle_epoch_end(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kInitProducerId:
      return handle_init_producer_id(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kClusterStatus:
      return handle_cluster_status(shard, std::move(ticket), std::move(frame));
    case wire::ApiKey::kBrokerSettings:
      return handle_broker_settings(shard, std::move(ticket), std::move(frame));
  }
}

}  // namespace tidelog::broker
