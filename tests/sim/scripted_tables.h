// Reading and writing the protocol's tables, as the scripted broker's files share it.
#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "base/ids.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::sim {

namespace fb = wire::fb;

inline fb::Uuid to_wire(const TopicId& id) {
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes));
}

inline TopicId from_wire(const fb::Uuid& uuid) {
  TopicId id;
  std::ranges::copy(*uuid.bytes(), id.bytes.begin());
  return id;
}

inline flatbuffers::Offset<fb::Status> status(flatbuffers::FlatBufferBuilder& to, ErrorCode code,
                                              const std::string& message = "as the test says") {
  return fb::CreateStatusDirect(to, static_cast<std::uint16_t>(code),
                                code == ErrorCode::kOk ? "" : message.c_str());
}

// The table of a request. REQUIRES: it is valid.
template <typename T>
const T& read_request(std::span<const std::byte> table) {
  const T* read = wire::verified_table<T>(table);
  TIDELOG_CHECK(read != nullptr, "a client sends valid tables");
  return *read;
}

}  // namespace tidelog::sim
