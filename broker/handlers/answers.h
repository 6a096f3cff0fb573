// Pieces that all handlers' answers are made of. Included by handlers only: it shows FlatBuffers.
#pragma once

#include <cstring>

#include "base/ids.h"
#include "base/result.h"
#include "broker/connection.h"
#include "broker/frame_reader.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::broker {

namespace fb = wire::fb;

inline TopicId topic_id(const fb::Uuid& id) {
  TopicId topic;
  static_assert(sizeof(fb::Uuid) == sizeof topic.bytes);
  std::memcpy(topic.bytes.data(), &id, sizeof topic.bytes);
  return topic;
}
inline fb::Uuid uuid(const TopicId& id) {
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes.data(), 16));
}

// Success; `throttle_ms` is how long the client should wait before it goes on.
flatbuffers::Offset<fb::Status> ok_status(flatbuffers::FlatBufferBuilder& to,
                                          std::uint32_t throttle_ms = 0);
flatbuffers::Offset<fb::Status> error_status(flatbuffers::FlatBufferBuilder& to,
                                             const Error& error);
// The same in an answer that may name as many errors as a request names partitions: once the
// sentences have taken their share of a frame, further ones are left out.
flatbuffers::Offset<fb::Status> one_of_many_errors(flatbuffers::FlatBufferBuilder& to,
                                                   const ClientConnection& peer,
                                                   const Error& error);

// The same of a partition, as partition_error_status() while there is room.
flatbuffers::Offset<fb::Status> one_of_many_errors(flatbuffers::FlatBufferBuilder& to,
                                                   ClientConnection& peer, const TopicPartition& id,
                                                   const Error& error);

// What tables and batches of one answer may take together: the smaller of what both sides take,
// less what a frame needs beside them.
std::size_t answer_bytes_max(const ClientConnection& peer);

// The error of a partition; of one that is led elsewhere, or in another epoch, with the leader that
// this broker knows. `peer` reached it by the address that is named.
flatbuffers::Offset<fb::Status> partition_error_status(flatbuffers::FlatBufferBuilder& to,
                                                       ClientConnection& peer,
                                                       const TopicPartition& id,
                                                       const Error& error);

// What is refused while the broker stops.
Error draining_error(Shard& shard);

// The request's table, or null after an answer that says that it is malformed.
template <typename T>
const T* request_table(const Frame& frame, const RequestTicket& ticket) {
  const T* table = wire::verified_table<T>(frame.table);
  if (table == nullptr) {
    ticket.fail(Error(ErrorCode::kMalformedFrame, "the request's table is not sound"));
  }
  return table;
}

}  // namespace tidelog::broker
