// Records: what producers give and consumers get. Keys and values are bytes; null differs from
// empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidelog::client {

struct Header {
  std::string key{};
  std::optional<std::string> value{};
};

// A record to produce.
struct Record {
  std::string topic{};
  std::optional<std::string> key{};
  std::optional<std::string> value{};
  std::vector<Header> headers{};
  std::optional<std::int32_t> partition{};     // chosen by key, or sticky, when absent
  std::optional<std::int64_t> timestamp_ms{};  // now when absent
};

// Where a produced record lies, and that it is stable there (as far as Acks asked for).
struct Delivery {
  std::string topic{};
  std::int32_t partition = 0;
  // -1 with Acks::kNone, and where a record was sent again so late that its place is forgotten.
  std::int64_t offset = -1;
  // As in the log: the record's own, or the broker's where the topic's message.timestamp.type is
  // LogAppendTime; -1 where it was sent again so late that this is forgotten. With Acks::kNone the
  // record's own.
  std::int64_t timestamp_ms = 0;
};

// A consumed record. The views live as long as the ConsumedRecords they came with.
struct HeaderRef {
  std::string_view key{};
  std::optional<std::string_view> value{};
};
struct ConsumedRecord {
  std::string_view topic{};
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = 0;
  std::int32_t leader_epoch = -1;
  std::optional<std::string_view> key{};
  std::optional<std::string_view> value{};
  std::vector<HeaderRef> headers{};
};

enum class Compression : std::uint8_t { kNone, kGzip, kSnappy, kLz4, kZstd };

// What an acknowledgement promises: nothing, stable on the leader, or stable on every in-sync
// replica.
enum class Acks : std::uint8_t { kNone, kLeader, kAll };

}  // namespace tidelog::client
