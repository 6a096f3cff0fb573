// Pieces that all tables of the client's messages are read and made of. Shows FlatBuffers: included
// by the .cc files of messages only.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "client/messages.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::client_core {

namespace fb = wire::fb;

inline Table finished(flatbuffers::FlatBufferBuilder& builder) {
  const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  return Table(bytes.begin(), bytes.end());
}

inline fb::Uuid to_wire(const TopicId& id) {
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes));
}

template <typename Bytes>
void copy_uuid(const fb::Uuid* from, Bytes& to) {
  if (from != nullptr) std::ranges::copy(*from->bytes(), to.begin());
}

inline std::string text(const flatbuffers::String* from) {
  return from != nullptr ? from->str() : std::string();
}

inline AnswerStatus read_status(const fb::Status* from) {
  AnswerStatus status;
  if (from == nullptr) return status;
  status.code = static_cast<ErrorCode>(from->code());
  status.message = text(from->message());
  status.throttle_ms = from->throttle_ms();
  if (!status.ok() && status.message.empty()) {
    status.message = fmt::format("the broker answered with error {}", from->code());
  }
  return status;
}

template <typename T>
Result<const T*> read_table(std::span<const std::byte> table, std::string_view name) {
  const T* read = wire::verified_table<T>(table);
  if (read == nullptr) {
    return fail(
        ErrorCode::kMalformedFrame,
        fmt::format("the broker's {} answer ({} bytes) is not a valid table", name, table.size()));
  }
  return read;
}

template <typename T>
Result<AnswerStatus> decode_status_only(std::span<const std::byte> table, std::string_view name) {
  TIDELOG_ASSIGN(const T* answer, read_table<T>(table, name));
  return read_status(answer->status());
}

template <typename From>
TopicPartition read_partition(const From& from) {
  TopicPartition partition;
  copy_uuid(from.topic(), partition.topic.bytes);
  partition.partition = PartitionIndex(from.partition());
  return partition;
}

// Visits the elements of a vector that may be absent.
template <typename Vector, typename Visit>
void each(const Vector* vector, Visit visit) {
  if (vector == nullptr) return;
  for (const auto* element : *vector) visit(*element);
}

}  // namespace tidelog::client_core
