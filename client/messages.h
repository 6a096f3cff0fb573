// The requests and answers of the native protocol as plain structs: the only place of the client
// that builds and reads FlatBuffers tables. Decoders fail with kMalformedFrame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "wire/frame.h"

namespace tidelog::client_core {

// An encoded table, ready for wire::encode_frame.
using Table = std::vector<std::byte>;

using ClusterId = std::array<std::uint8_t, 16>;

// What every answer, and every part of one that settles by itself, begins with.
struct AnswerStatus {
  ErrorCode code = ErrorCode::kOk;
  std::string message;
  std::uint32_t throttle_ms = 0;

  bool ok() const { return code == ErrorCode::kOk; }
  Error error() const { return Error(code, message); }
};

// How long any answer asks its client to wait before it goes on.
std::uint32_t decode_throttle_ms(std::span<const std::byte> table);

// Where a partition is served. kAnyShard: by whichever shard of the broker.
inline constexpr std::int32_t kAnyShard = -1;
struct BrokerShard {
  BrokerId broker{-1};
  std::int32_t shard = kAnyShard;

  auto operator<=>(const BrokerShard&) const = default;
};

struct HelloRequest {
  std::string client_name;
  std::string client_version;
  std::uint32_t frame_bytes_max = 0;
  std::int32_t wanted_shard = kAnyShard;
  std::optional<ClusterId> cluster_id;
};
struct HelloAnswer {
  AnswerStatus status;
  ClusterId cluster_id{};
  BrokerId broker_id{-1};
  std::string broker_version;
  std::vector<wire::ApiInfo> apis;  // names left empty
  std::int32_t shard = 0;           // that serves the connection, wanted or not
  std::int32_t shard_count = 0;
  std::size_t frame_bytes_max = 0;
  std::size_t batch_bytes_max = 0;
  std::uint32_t requests_in_flight_max = 0;
  std::size_t bytes_in_flight_max = 0;
  std::uint32_t unsettled_batches_max = 0;
  std::uint32_t idle_timeout_ms = 0;
};
Table encode(const HelloRequest& request);
Result<HelloAnswer> decode_hello(std::span<const std::byte> table);

Table encode_ping();
// Of the call with this correlation id.
Table encode_cancel(std::uint64_t correlation);

struct MetadataRequest {
  bool all = false;
  std::vector<std::string> names;
  std::string after{};  // of all topics only those behind this name
};
struct BrokerAddress {
  BrokerId id;
  std::string host;
  std::uint16_t port = 0;
};
struct PartitionLeader {
  BrokerId leader{-1};
  LeaderEpoch leader_epoch{-1};
  std::int32_t shard = kAnyShard;  // of the leader
};
struct TopicMetadata {
  AnswerStatus status;
  std::string name;
  TopicId id;
  std::vector<PartitionLeader> partitions;  // by partition
  std::int32_t replication_factor = 0;
  std::size_t batch_bytes_max = 0;
};
struct MetadataAnswer {
  AnswerStatus status;
  std::vector<BrokerAddress> brokers;
  std::vector<TopicMetadata> topics;
  bool more = false;  // not everything that was asked for is here
};
Table encode(const MetadataRequest& request);
Result<MetadataAnswer> decode_metadata(std::span<const std::byte> table);

struct CreateTopicRequest {
  std::string name;
  std::int32_t partitions = 1;
  std::int32_t replication_factor = -1;
  std::map<std::string, std::string> settings;
  std::uint32_t deadline_ms = 0;
};
Table encode(const CreateTopicRequest& request);
Result<AnswerStatus> decode_create_topic(std::span<const std::byte> table);
struct DeleteTopicRequest {
  std::string name;
  std::uint32_t deadline_ms = 0;
};
Table encode(const DeleteTopicRequest& request);
Result<AnswerStatus> decode_delete_topic(std::span<const std::byte> table);

struct AlterTopicRequest {
  std::string name;
  std::map<std::string, std::string> settings;
  std::vector<std::string> defaults;  // names of settings to take back
  std::uint32_t deadline_ms = 0;
};
Table encode(const AlterTopicRequest& request);
Result<AnswerStatus> decode_alter_topic(std::span<const std::byte> table);

struct AddPartitionsRequest {
  std::string name;
  std::int32_t total = 0;
  std::uint32_t deadline_ms = 0;
};
Table encode(const AddPartitionsRequest& request);
Result<AnswerStatus> decode_add_partitions(std::span<const std::byte> table);

struct DeleteRecordsRequest {
  struct Entry {
    TopicPartition partition;
    std::int64_t before = -1;  // -1: the high watermark
  };
  std::vector<Entry> entries;
};
struct DeleteRecordsAnswer {
  AnswerStatus status;
  struct Trimmed {
    TopicPartition partition;
    AnswerStatus status;
    std::int64_t start_offset = -1;
  };
  std::vector<Trimmed> results;
};
Table encode(const DeleteRecordsRequest& request);
Result<DeleteRecordsAnswer> decode_delete_records(std::span<const std::byte> table);

struct DescribeTopicRequest {
  std::string name;
};
struct DescribedPartition {
  AnswerStatus status;
  std::int32_t partition = 0;
  std::int32_t leader = -1;
  std::int32_t leader_epoch = -1;
  std::vector<std::int32_t> replicas;
  std::vector<std::int32_t> isr;
  std::int64_t start_offset = 0;
  std::int64_t high_watermark = 0;
  std::int64_t log_end_offset = 0;
};
struct DescribeTopicAnswer {
  AnswerStatus status;
  std::string name;
  TopicId id;
  std::map<std::string, std::string> settings;
  std::vector<DescribedPartition> partitions;
};
Table encode(const DescribeTopicRequest& request);
Result<DescribeTopicAnswer> decode_describe_topic(std::span<const std::byte> table);

// Numbers as on the wire.
enum class AcksOnWire : std::uint8_t { kNone = 0, kLeader = 1, kAll = 2 };
struct ProduceEntry {
  TopicPartition partition;
  std::uint32_t bytes = 0;
};
struct ProduceRequest {
  AcksOnWire acks = AcksOnWire::kAll;
  std::uint32_t deadline_ms = 0;
  std::vector<ProduceEntry> entries;
};
// Where batches came to lie.
struct StoredAt {
  std::int64_t base_offset = -1;
  // What the timestamps of their records were set to; -1: the records keep their own.
  std::int64_t append_time_us = -1;
};
inline constexpr std::int64_t kAppendTimeForgotten = -2;
struct ProduceResult {
  TopicPartition partition;
  AnswerStatus status;
  StoredAt stored;
};
struct ProduceAnswer {
  AnswerStatus status;
  std::vector<ProduceResult> results;
};
Table encode(const ProduceRequest& request);
Result<ProduceAnswer> decode_produce(std::span<const std::byte> table);

struct InitProducerIdAnswer {
  AnswerStatus status;
  ProducerId id{-1};
};
Table encode_init_producer_id();
Result<InitProducerIdAnswer> decode_init_producer_id(std::span<const std::byte> table);

struct FetchPartition {
  TopicPartition partition;
  std::uint32_t bytes_max = 0;
  Offset offset;
  LeaderEpoch last_epoch{-1};
  LeaderEpoch leader_epoch{-1};
};
struct FetchRequest {
  std::uint64_t session = 0;
  std::vector<FetchPartition> changed;
  std::vector<TopicPartition> forgotten;
  std::uint32_t min_bytes = 1;
  std::uint32_t max_wait_ms = 0;
  std::uint32_t bytes_max = 0;
  bool close_session = false;
};
struct FetchResult {
  TopicPartition partition;
  AnswerStatus status;
  std::int64_t high_watermark = -1;
  std::int64_t diverging_offset = -1;
  std::int64_t sound_offset = -1;
  std::int64_t next_offset = -1;
  std::size_t bytes = 0;
};
struct FetchAnswer {
  AnswerStatus status;
  std::uint64_t session = 0;
  std::vector<FetchResult> results;
};
Table encode(const FetchRequest& request);
// Checks that the byte counts of the results add up to `raw_bytes`.
Result<FetchAnswer> decode_fetch(std::span<const std::byte> table, std::size_t raw_bytes);

inline constexpr std::int64_t kLatestTimestamp = -1;
inline constexpr std::int64_t kEarliestTimestamp = -2;
struct ListOffsetsEntry {
  TopicPartition partition;
  std::int64_t timestamp_ms = 0;
};
struct ListOffsetsResult {
  TopicPartition partition;
  AnswerStatus status;
  std::int64_t offset = -1;
};
struct ListOffsetsAnswer {
  AnswerStatus status;
  std::vector<ListOffsetsResult> results;
};
Table encode_list_offsets(std::span<const ListOffsetsEntry> entries);
Result<ListOffsetsAnswer> decode_list_offsets(std::span<const std::byte> table);

enum class NoticeKind : std::uint8_t { kClosing = 0, kDraining = 1 };
struct Notice {
  std::uint8_t kind = 0;  // may be one that this version does not know
  AnswerStatus status;
};
Result<Notice> decode_notice(std::span<const std::byte> table);

}  // namespace tidelog::client_core
