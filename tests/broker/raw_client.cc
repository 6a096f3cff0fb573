#include "tests/broker/raw_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "wire/batch_builder.h"
#include "wire/limits.h"
#include "wire/record.h"
#include "wire/record_batch.h"

namespace tidelog::broker {
namespace {

constexpr timeval kReceiveTimeout{.tv_sec = 20, .tv_usec = 0};

}  // namespace

ErrorCode code_of(const fb::Status* status) {
  return status != nullptr ? static_cast<ErrorCode>(status->code()) : ErrorCode::kOk;
}

std::string message_of(const fb::Status* status) {
  return status != nullptr && status->message() != nullptr ? status->message()->str() : "";
}

ErrorCode Answer::code() const { return code_of(table<fb::AnyAnswer>().status()); }
std::string Answer::message() const { return message_of(table<fb::AnyAnswer>().status()); }

RawClient::RawClient(std::uint16_t port)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int one = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kReceiveTimeout, sizeof kReceiveTimeout);
  const int connected =
      ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  EXPECT_EQ(connected, 0) << std::strerror(errno);
}

RawClient::RawClient(RawClient&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      last_correlation_(other.last_correlation_),
      kept_(std::move(other.kept_)) {}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void RawClient::shut_down_sending() { ::shutdown(socket_, SHUT_WR); }

void RawClient::send_bytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the broker may have closed: what it says is what tests look at
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void RawClient::send_text(std::string_view text) { send_bytes(as_bytes(text)); }

std::vector<std::byte> RawClient::encode(wire::ApiKey api,
                                         const flatbuffers::FlatBufferBuilder& table,
                                         std::span<const std::byte> raw, std::uint16_t version) {
  const SharedBytes head =
      wire::encode_frame({.api = api, .version = version, .correlation = ++last_correlation_},
                         table, raw.size(), pool_);
  std::vector<std::byte> bytes(head.bytes().begin(), head.bytes().end());
  bytes.insert(bytes.end(), raw.begin(), raw.end());
  return bytes;
}

std::uint64_t RawClient::send(wire::ApiKey api, const flatbuffers::FlatBufferBuilder& table,
                              std::span<const std::byte> raw, std::uint16_t version) {
  send_bytes(encode(api, table, raw, version));
  return last_correlation_;
}

bool RawClient::read_exactly(std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = ::recv(socket_, into.data(), into.size(), 0);
    // Completions of a ring that this thread made interrupt its calls.
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      ADD_FAILURE() << "the broker did not answer in time";
      return false;
    }
    if (n <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

std::optional<Answer> RawClient::receive() {
  if (!kept_.empty()) {
    Answer first = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return first;
  }
  std::array<std::byte, wire::kFramePrefixBytes> prefix;
  if (!read_exactly(prefix)) return std::nullopt;
  Answer answer;
  const auto decoded = wire::decode_frame_prefix(prefix, wire::kFrameBytesMax);
  if (!decoded) {
    ADD_FAILURE() << decoded.error().to_string();
    return std::nullopt;
  }
  answer.prefix = *decoded;
  answer.memory.resize((decoded->frame_bytes + 7) / 8);
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(answer.memory));
  std::memcpy(bytes.data(), prefix.data(), prefix.size());
  if (!read_exactly(bytes.subspan(prefix.size(), decoded->frame_bytes - prefix.size()))) {
    return std::nullopt;
  }
  const auto sound = wire::check_frame(prefix, bytes.subspan(prefix.size(), decoded->table_bytes));
  EXPECT_TRUE(sound) << sound.error().to_string();
  return answer;
}

Answer RawClient::receive(std::uint64_t correlation) {
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (kept_[i].prefix.correlation != correlation) continue;
    Answer found = std::move(kept_[i]);
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
    return found;
  }
  std::vector<Answer> others = std::exchange(kept_, {});
  for (;;) {
    std::optional<Answer> answer = receive();
    if (!answer) {
      ADD_FAILURE() << "the connection ended before the answer to " << correlation;
      std::abort();
    }
    if (answer->prefix.correlation == correlation) {
      kept_ = std::move(others);
      return std::move(*answer);
    }
    others.push_back(std::move(*answer));
  }
}

Answer RawClient::call(wire::ApiKey api, const flatbuffers::FlatBufferBuilder& table,
                       std::span<const std::byte> raw) {
  return receive(send(api, table, raw));
}

void RawClient::await_bytes() {
  char byte = 0;
  ssize_t n = 0;
  do {
    n = ::recv(socket_, &byte, 1, MSG_PEEK);
  } while (n < 0 && errno == EINTR);
  EXPECT_EQ(n, 1);
}

std::string RawClient::receive_text() {
  std::string text;
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::recv(socket_, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(bytes, static_cast<std::size_t>(n));
  }
}

bool RawClient::closes() {
  while (const std::optional<Answer> answer = receive()) {
    if (answer->prefix.correlation != 0) return false;
  }
  return true;
}

std::vector<std::byte> RawClient::encode_hello(std::int32_t wanted_shard,
                                               std::size_t frame_bytes_max,
                                               std::string_view client_name) {
  flatbuffers::FlatBufferBuilder to;
  const auto name = to.CreateString(client_name.data(), client_name.size());
  const auto version = to.CreateString("1");
  to.Finish(fb::CreateHelloRequest(to, name, version, static_cast<std::uint32_t>(frame_bytes_max),
                                   0, wanted_shard));
  return encode(wire::ApiKey::kHello, to, {});
}

Answer RawClient::hello(std::int32_t wanted_shard, std::size_t frame_bytes_max) {
  send_bytes(encode_hello(wanted_shard, frame_bytes_max));
  return receive(last_correlation_);
}

Answer RawClient::hello_as(std::string_view client_name) {
  send_bytes(encode_hello(-1, wire::kFrameBytesMax, client_name));
  return receive(last_correlation_);
}

Answer RawClient::create_topic(std::string_view name, std::int32_t partitions,
                               const std::map<std::string, std::string>& settings) {
  flatbuffers::FlatBufferBuilder to;
  std::vector<flatbuffers::Offset<fb::Setting>> listed;
  for (const auto& [key, value] : settings) {
    const auto k = to.CreateString(key);
    const auto v = to.CreateString(value);
    listed.push_back(fb::CreateSetting(to, k, v));
  }
  const auto all = to.CreateVector(listed);
  const auto text = to.CreateString(name.data(), name.size());
  to.Finish(fb::CreateCreateTopicRequest(to, text, partitions, -1, all));
  return call(wire::ApiKey::kCreateTopic, to);
}

Answer RawClient::delete_topic(std::string_view name) {
  flatbuffers::FlatBufferBuilder to;
  const auto text = to.CreateString(name.data(), name.size());
  to.Finish(fb::CreateDeleteTopicRequest(to, text));
  return call(wire::ApiKey::kDeleteTopic, to);
}

Answer RawClient::add_partitions(std::string_view name, std::int32_t total) {
  flatbuffers::FlatBufferBuilder to;
  const auto text = to.CreateString(name.data(), name.size());
  to.Finish(fb::CreateAddPartitionsRequest(to, text, total));
  return call(wire::ApiKey::kAddPartitions, to);
}

Answer RawClient::describe_topic(std::string_view name) {
  flatbuffers::FlatBufferBuilder to;
  const auto text = to.CreateString(name.data(), name.size());
  to.Finish(fb::CreateDescribeTopicRequest(to, text));
  return call(wire::ApiKey::kDescribeTopic, to);
}

Answer RawClient::metadata(const std::vector<std::string>& names) {
  flatbuffers::FlatBufferBuilder to;
  const auto listed = to.CreateVectorOfStrings(names);
  to.Finish(fb::CreateMetadataRequest(to, listed));
  return call(wire::ApiKey::kMetadata, to);
}

std::vector<std::byte> RawClient::encode_produce(const std::vector<ProduceEntry>& entries,
                                                 fb::Acks acks, std::uint32_t deadline_ms) {
  flatbuffers::FlatBufferBuilder to;
  std::vector<fb::ProduceEntry> listed;
  std::vector<std::byte> raw;
  for (const ProduceEntry& entry : entries) {
    listed.emplace_back(uuid_of(entry.id.topic), entry.id.partition.value(),
                        static_cast<std::uint32_t>(entry.batches.size()));
    raw.insert(raw.end(), entry.batches.begin(), entry.batches.end());
  }
  const auto all = to.CreateVectorOfStructs(listed);
  to.Finish(fb::CreateProduceRequest(to, acks, deadline_ms, all));
  return encode(wire::ApiKey::kProduce, to, raw);
}

std::uint64_t RawClient::send_produce(const std::vector<ProduceEntry>& entries, fb::Acks acks,
                                      std::uint32_t deadline_ms) {
  send_bytes(encode_produce(entries, acks, deadline_ms));
  return last_correlation_;
}

std::int64_t RawClient::produce(const TopicPartition& id, std::vector<std::byte> batches) {
  const Answer answer = receive(send_produce({{id, std::move(batches)}}));
  EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto* results = answer.table<fb::ProduceAnswer>().results();
  if (results == nullptr || results->size() != 1) {
    ADD_FAILURE() << "a produce of one entry has one result";
    return -1;
  }
  EXPECT_EQ(code_of(results->Get(0)->status()), ErrorCode::kOk)
      << message_of(results->Get(0)->status());
  return results->Get(0)->base_offset();
}

std::vector<std::byte> RawClient::encode_fetch(const Fetch& fetch) {
  flatbuffers::FlatBufferBuilder to;
  const auto changed = to.CreateVectorOfStructs(fetch.changed);
  const auto forgotten = to.CreateVectorOfStructs(fetch.forgotten);
  to.Finish(fb::CreateFetchRequest(to, fetch.session, changed, forgotten, fetch.min_bytes,
                                   fetch.max_wait_ms, fetch.bytes_max, fetch.close_session));
  return encode(wire::ApiKey::kFetch, to, {});
}

std::uint64_t RawClient::send_fetch(const Fetch& fetch) {
  send_bytes(encode_fetch(fetch));
  return last_correlation_;
}

std::pair<std::uint64_t, std::uint64_t> RawClient::send_fetches(const Fetch& first,
                                                                const Fetch& second) {
  std::vector<std::byte> both = encode_fetch(first);
  const std::vector<std::byte> behind = encode_fetch(second);
  both.insert(both.end(), behind.begin(), behind.end());
  send_bytes(both);
  return {last_correlation_ - 1, last_correlation_};
}

RawClient::Listed RawClient::list_offset(const TopicPartition& id, std::int64_t timestamp_ms) {
  flatbuffers::FlatBufferBuilder to;
  const std::vector<fb::ListOffsetsEntry> entries = {
      fb::ListOffsetsEntry(uuid_of(id.topic), id.partition.value(), 0, timestamp_ms)};
  const auto listed = to.CreateVectorOfStructs(entries);
  to.Finish(fb::CreateListOffsetsRequest(to, listed));
  const Answer answer = call(wire::ApiKey::kListOffsets, to);
  if (answer.code() != ErrorCode::kOk) return {.code = answer.code()};
  const fb::ListOffsetsResult* result = answer.table<fb::ListOffsetsAnswer>().results()->Get(0);
  return {.code = code_of(result->status()), .offset = result->offset()};
}

fb::Uuid uuid_of(const TopicId& id) {
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes.data(), 16));
}

TopicId topic_id_of(const fb::Uuid& id) {
  TopicId topic;
  std::memcpy(topic.bytes.data(), &id, sizeof topic.bytes);
  return topic;
}

fb::FetchPartition fetch_from(const TopicPartition& id, std::int64_t offset,
                              std::int32_t last_epoch, std::uint32_t bytes_max) {
  return fb::FetchPartition(uuid_of(id.topic), id.partition.value(), bytes_max, offset, last_epoch,
                            -1);
}

std::vector<std::byte> make_batch(const TopicPartition& id, const std::vector<std::string>& values,
                                  std::int64_t timestamp_ms) {
  BufferPool pool(0);
  wire::BatchBuilder builder;
  for (const std::string& value : values) {
    wire::RecordView record;
    record.value = value;
    builder.add(timestamp_ms, record);
  }
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(id), {}, pool);
  EXPECT_TRUE(batch) << batch.error().to_string();
  return {batch->bytes().begin(), batch->bytes().end()};
}

std::vector<std::byte> make_large_batch(const TopicPartition& id, std::size_t bytes) {
  return make_batch(id, {std::string(bytes, 'x')});
}

std::vector<std::string> values_of(const TopicPartition& id, std::span<const std::byte> raw) {
  std::vector<std::string> values;
  while (!raw.empty()) {
    const auto batch = wire::BatchView::parse(raw, wire::kBatchBytesMax);
    if (!batch) {
      ADD_FAILURE() << batch.error().to_string();
      return values;
    }
    const Result<> sound = batch->verify(wire::batch_seed(id));
    EXPECT_TRUE(sound) << sound.error().to_string();
    wire::RecordReader reader(batch->records(), batch->record_count());
    wire::RecordView record;
    while (reader.has_next()) {
      const Result<> read = reader.next(record);
      if (!read) {
        ADD_FAILURE() << read.error().to_string();
        return values;
      }
      values.emplace_back(record.value.value_or("(null)"));
    }
    raw = raw.subspan(batch->size());
  }
  return values;
}

}  // namespace tidelog::broker
