// A client made of a blocking socket and the frames of wire/: tests say byte for byte what they
// send.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer_pool.h"
#include "base/error.h"
#include "base/ids.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::broker {

namespace fb = wire::fb;

// A received frame. Its table is aligned.
struct Answer {
  wire::FramePrefix prefix;
  std::vector<std::uint64_t> memory;

  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(memory)); }
  std::span<const std::byte> raw() const {
    return bytes().subspan(prefix.raw_position(), prefix.raw_bytes());
  }
  bool more_parts() const { return (prefix.flags & wire::kFrameMoreParts) != 0; }
  // Ends the test's process when the table is not sound.
  template <typename T>
  const T& table() const {
    const T* table =
        wire::verified_table<T>(bytes().subspan(wire::kFramePrefixBytes, prefix.table_bytes));
    if (table == nullptr) std::abort();
    return *table;
  }
  // Of the first field, which every answer has.
  ErrorCode code() const;
  std::string message() const;
};

ErrorCode code_of(const fb::Status* status);
std::string message_of(const fb::Status* status);

class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient(const RawClient&) = delete;

  void send_bytes(std::span<const std::byte> bytes);
  void send_text(std::string_view text);
  // Sends a request and returns its correlation id.
  std::uint64_t send(wire::ApiKey api, const flatbuffers::FlatBufferBuilder& table,
                     std::span<const std::byte> raw = {}, std::uint16_t version = 1);
  // The same without sending: for tests that change bytes.
  std::vector<std::byte> encode(wire::ApiKey api, const flatbuffers::FlatBufferBuilder& table,
                                std::span<const std::byte> raw, std::uint16_t version = 1);

  // The next frame; nullopt when the broker closed the connection. Fails the test after 20 s.
  std::optional<Answer> receive();
  // The next frame with this correlation id; others are kept for later.
  Answer receive(std::uint64_t correlation);
  // Sends and receives.
  Answer call(wire::ApiKey api, const flatbuffers::FlatBufferBuilder& table,
              std::span<const std::byte> raw = {});
  // True when the broker closes without saying anything more; notices are passed over.
  bool closes();
  // What comes until the broker closes, as it is.
  std::string receive_text();
  // Returns when something has come, and leaves it where it is.
  void await_bytes();
  // Ends the sending side, or everything.
  void shut_down_sending();
  void close();

  std::vector<std::byte> encode_hello(std::int32_t wanted_shard,
                                      std::size_t frame_bytes_max = wire::kFrameBytesMax,
                                      std::string_view client_name = "raw-client");

  // --- Requests that most tests need.
  Answer hello(std::int32_t wanted_shard = -1, std::size_t frame_bytes_max = wire::kFrameBytesMax);
  // As a client of another name.
  Answer hello_as(std::string_view client_name);
  Answer create_topic(std::string_view name, std::int32_t partitions,
                      const std::map<std::string, std::string>& settings = {});
  Answer delete_topic(std::string_view name);
  Answer add_partitions(std::string_view name, std::int32_t total);
  Answer describe_topic(std::string_view name);
  Answer metadata(const std::vector<std::string>& names);

  struct ProduceEntry {
    TopicPartition id;
    std::vector<std::byte> batches;
  };
  std::vector<std::byte> encode_produce(const std::vector<ProduceEntry>& entries,
                                        fb::Acks acks = fb::Acks::All,
                                        std::uint32_t deadline_ms = 0);
  std::uint64_t send_produce(const std::vector<ProduceEntry>& entries,
                             fb::Acks acks = fb::Acks::All, std::uint32_t deadline_ms = 0);
  // Produces one entry; returns the base offset. The test fails on any error.
  std::int64_t produce(const TopicPartition& id, std::vector<std::byte> batches);

  struct Fetch {
    std::uint64_t session = 0;
    std::vector<fb::FetchPartition> changed = {};
    std::vector<fb::ForgottenPartition> forgotten = {};
    std::uint32_t min_bytes = 1;
    std::uint32_t max_wait_ms = 0;
    std::uint32_t bytes_max = 0;
    bool close_session = false;
  };
  std::uint64_t send_fetch(const Fetch& fetch);
  // Sends both in one piece, so that the broker takes them in one turn; returns their ids.
  std::pair<std::uint64_t, std::uint64_t> send_fetches(const Fetch& first, const Fetch& second);
  Answer fetch(const Fetch& fetch) { return receive(send_fetch(fetch)); }

  struct Listed {
    ErrorCode code = ErrorCode::kOk;
    std::int64_t offset = -1;
  };
  Listed list_offset(const TopicPartition& id, std::int64_t timestamp_ms);

 private:
  std::vector<std::byte> encode_fetch(const Fetch& fetch);
  bool read_exactly(std::span<std::byte> into);

  int socket_ = -1;
  std::uint64_t last_correlation_ = 0;
  std::vector<Answer> kept_;
  BufferPool pool_{1 << 20};
};

fb::Uuid uuid_of(const TopicId& id);
TopicId topic_id_of(const fb::Uuid& id);
fb::FetchPartition fetch_from(const TopicPartition& id, std::int64_t offset,
                              std::int32_t last_epoch = -1, std::uint32_t bytes_max = 0);

// A batch of `values`, sealed for `id`.
std::vector<std::byte> make_batch(const TopicPartition& id, const std::vector<std::string>& values,
                                  std::int64_t timestamp_ms = 1'700'000'000'000);
// A batch with one value of `bytes` bytes.
std::vector<std::byte> make_large_batch(const TopicPartition& id, std::size_t bytes);

// The values of all batches in `raw`, whose checksums must hold.
std::vector<std::string> values_of(const TopicPartition& id, std::span<const std::byte> raw);

}  // namespace tidelog::broker
