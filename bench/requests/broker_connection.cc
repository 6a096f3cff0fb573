#include "bench/requests/broker_connection.h"

#include <arpa/inet.h>
#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>

#include "base/buffer_pool.h"
#include "bench/support.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/table_access.h"

namespace tidelog::bench {
namespace {

namespace fb = wire::fb;

constexpr timeval kAnswerMax{.tv_sec = 10, .tv_usec = 0};

sockaddr_in parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  std::uint16_t port = 0;
  const bool is_sound =
      colon != std::string::npos &&
      inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) == 1 &&
      std::from_chars(text.data() + colon + 1, text.data() + text.size(), port).ptr ==
          text.data() + text.size();
  if (!is_sound) fail_with(fmt::format("'{}' is not an IPv4 address with a port", text));
  address.sin_port = htons(port);
  return address;
}

void read_exactly(int socket, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = recv(socket, into.data(), into.size(), 0);
    if (n == 0) fail_with("the broker closed the connection");
    if (n < 0) fail_with_errno("wait for the broker's answer");
    into = into.subspan(static_cast<std::size_t>(n));
  }
}

template <typename T>
const T& table_of(const std::vector<std::uint64_t>& table, const char* what) {
  const T* verified = wire::verified_table<T>(std::as_bytes(std::span(table)));
  if (verified == nullptr) fail_with(fmt::format("the answer to {} is malformed", what));
  const fb::Status* status = verified->status();
  if (status != nullptr && status->code() != 0) {
    fail_with(
        fmt::format("{}: {}", what,
                    status->message() != nullptr ? status->message()->string_view() : "refused"));
  }
  return *verified;
}

}  // namespace

BrokerConnection::BrokerConnection(const std::string& address)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const sockaddr_in parsed = parse_address(address);
  if (socket_ < 0 ||
      connect(socket_, reinterpret_cast<const sockaddr*>(&parsed), sizeof parsed) != 0) {
    fail_with_errno("connect to " + address);
  }
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kAnswerMax, sizeof kAnswerMax);
  BufferPool pool(0);
  flatbuffers::FlatBufferBuilder to;
  const auto name = to.CreateString("tidelog-requests");
  const auto version = to.CreateString("1");
  to.Finish(
      fb::CreateHelloRequest(to, name, version, static_cast<std::uint32_t>(wire::kFrameBytesMax)));
  const auto answer = call(
      wire::encode_frame({.api = wire::ApiKey::kHello, .correlation = 1}, to, 0, pool).bytes());
  table_of<fb::HelloAnswer>(answer, "hello");
}

BrokerConnection::~BrokerConnection() { close(socket_); }

std::vector<std::uint64_t> BrokerConnection::call(std::span<const std::byte> request) {
  if (send(socket_, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    fail_with_errno("send a request");
  }
  std::array<std::byte, wire::kFramePrefixBytes> prefix_bytes;
  read_exactly(socket_, prefix_bytes);
  const auto prefix = wire::decode_frame_prefix(prefix_bytes, wire::kFrameBytesMax);
  if (!prefix) fail_with(prefix.error().to_string());
  // With the padding behind the table, which is zeros.
  std::vector<std::uint64_t> table((prefix->frame_bytes - wire::kFramePrefixBytes + 7) / 8);
  read_exactly(socket_, std::as_writable_bytes(std::span(table))
                            .first(prefix->frame_bytes - wire::kFramePrefixBytes));
  return table;
}

std::vector<TopicPartition> BrokerConnection::partitions_of(const std::string& topic) {
  BufferPool pool(0);
  flatbuffers::FlatBufferBuilder to;
  const auto names = to.CreateVectorOfStrings(std::vector<std::string>{topic});
  to.Finish(fb::CreateMetadataRequest(to, names));
  const auto bytes = call(
      wire::encode_frame({.api = wire::ApiKey::kMetadata, .correlation = 2}, to, 0, pool).bytes());
  const auto& answer = table_of<fb::MetadataAnswer>(bytes, "metadata");
  const fb::TopicMetadata* found = answer.topics() != nullptr && answer.topics()->size() == 1
                                       ? answer.topics()->Get(0)
                                       : nullptr;
  if (found == nullptr || found->id() == nullptr || found->partitions() == nullptr) {
    fail_with(fmt::format("the broker has no topic '{}'", topic));
  }
  TopicId id;
  std::memcpy(id.bytes.data(), found->id(), sizeof id.bytes);
  std::vector<TopicPartition> partitions;
  for (const fb::PartitionMetadata* one : *found->partitions()) {
    partitions.push_back({.topic = id, .partition = PartitionIndex(one->partition())});
  }
  return partitions;
}

}  // namespace tidelog::bench
