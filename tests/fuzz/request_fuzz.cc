// Requests of anybody's making through a whole broker, by its socket: frames whose prefix and
// checksum are right, so that each table reaches the handler of its API. Whatever they ask for, the
// broker answers a ping that follows them, or closes the connection; it never waits for ever.
//
// Input: per request u16 API, u8 version, u16 bytes of the table, u16 of the raw bytes, and both.
// The id of fuzzed_partition() in them stands for the topic that is there.
#include <arpa/inet.h>
#include <flatbuffers/flatbuffers.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/logging.h"
#include "broker/broker.h"
#include "broker/settings.h"
#include "tests/fuzz/blocks.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::broker {
namespace {

namespace fb = wire::fb;

constexpr std::uint64_t kLastCorrelation = ~std::uint64_t{0};
constexpr int kInputsPerBroker = 2000;  // topics that inputs make end with their broker
constexpr int kRequestsMax = 16;
constexpr std::size_t kRequestHeadBytes = 7;
constexpr timeval kAnswerWithin{.tv_sec = 9, .tv_usec = 0};

class Socket {
 public:
  explicit Socket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
    const linger reset{.l_onoff = 1, .l_linger = 0};  // leaves no port behind
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const int error =
        ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
            ? 0
            : (errno == EINTR ? end_of_connect() : errno);
    TIDELOG_CHECK(error == 0, "the broker takes connections");
  }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Of one that libFuzzer's clock came in between: it goes on by itself. What became of it.
  int end_of_connect() const {
    pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
    while (::poll(&ready, 1, -1) < 0) TIDELOG_CHECK(errno == EINTR, "a socket can be waited for");
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }

  void send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;  // closed: what it says then does not matter
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  // False at the end of the stream.
  bool receive(std::span<std::byte> into) const {
    while (!into.empty()) {
      const ssize_t n = ::recv(fd_, into.data(), into.size(), 0);
      if (n < 0 && errno == EINTR) continue;  // libFuzzer's clock
      TIDELOG_CHECK(n >= 0 || errno == ECONNRESET, "the broker answers, or closes");
      if (n <= 0) return false;
      into = into.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  int fd_;
};

void send_frame(const Socket& to, std::uint16_t api, std::uint16_t version,
                std::uint64_t correlation, std::span<const std::byte> table,
                std::span<const std::byte> raw) {
  static BufferPool pool(1 << 20);
  const SharedBytes head = wire::encode_frame(
      {static_cast<wire::ApiKey>(api), version, correlation, 0}, table, raw.size(), pool);
  to.send(head.bytes());
  to.send(raw);
}
template <typename Finish>
std::vector<std::byte> table_of(Finish finish) {
  flatbuffers::FlatBufferBuilder to;
  to.Finish(finish(to));
  const auto bytes = std::as_bytes(std::span(to.GetBufferPointer(), to.GetSize()));
  return {bytes.begin(), bytes.end()};
}

void hello(const Socket& to) {
  static const auto table = table_of([](auto& to_) {
    const auto name = to_.CreateString("fuzz");
    return fb::CreateHelloRequest(to_, name, name, wire::kFrameBytesMax);
  });
  send_frame(to, 1, 1, 1, table, {});
}

// Reads answers until the one to `correlation`; its table, or nullopt when the stream ended.
std::optional<std::vector<std::byte>> answer_to(const Socket& from, std::uint64_t correlation) {
  while (true) {
    std::byte prefix_bytes[wire::kFramePrefixBytes];
    if (!from.receive(prefix_bytes)) return std::nullopt;
    const auto prefix = wire::decode_frame_prefix(prefix_bytes, std::size_t{1} << 30);
    TIDELOG_CHECK(prefix.has_value(), "what the broker says is a frame");
    std::vector<std::byte> rest(prefix->frame_bytes - wire::kFramePrefixBytes);
    if (!from.receive(rest)) return std::nullopt;
    TIDELOG_CHECK(wire::check_frame(prefix_bytes, std::span(rest).first(prefix->raw_position() -
                                                                        wire::kFramePrefixBytes))
                      .has_value(),
                  "and its checksum is right");
    if (prefix->correlation != correlation) continue;
    rest.resize(prefix->table_bytes);
    return rest;
  }
}

class FuzzedBroker {
 public:
  FuzzedBroker() {
    set_log_level(LogLevel::kOff);
    const char* base = std::getenv("TMPDIR");
    directory_ = std::string(base != nullptr ? base : "/tmp") + "/tidelog-fuzz-XXXXXX";
    TIDELOG_CHECK(::mkdtemp(directory_.data()) != nullptr, "there is room for a data directory");
    BrokerSettings settings;
    settings.data_dir = directory_ + "/data";
    settings.listen = {"127.0.0.1", 0};
    settings.admin_listen = std::nullopt;
    settings.shards = 1;
    settings.storage_io = StorageIo::kThreads;
    settings.free_bytes_min = 0;
    auto started = Broker::start(settings);
    TIDELOG_CHECK(started.has_value(), "the broker starts");
    broker_ = std::move(*started);
    make_topic();
  }
  ~FuzzedBroker() {
    TIDELOG_CHECK(broker_->stop(std::chrono::seconds(60)).has_value(), "the broker stops");
    broker_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  FuzzedBroker(const FuzzedBroker&) = delete;
  FuzzedBroker& operator=(const FuzzedBroker&) = delete;

  std::uint16_t port() const { return broker_->port(); }
  const TopicPartition& partition() const { return partition_; }

 private:
  void make_topic() {
    const Socket socket(port());
    hello(socket);
    send_frame(socket, 11, 1, 2, table_of([](auto& to) {
                 return fb::CreateCreateTopicRequest(to, to.CreateString("fuzzed"), 1);
               }),
               {});
    const auto answer = answer_to(socket, 2);
    TIDELOG_CHECK(answer.has_value(), "the broker answers");
    const auto* made = wire::verified_table<fb::CreateTopicAnswer>(*answer);
    TIDELOG_CHECK(made != nullptr && made->id() != nullptr, "the topic is made");
    std::memcpy(partition_.topic.bytes.data(), made->id()->bytes()->data(), 16);
    partition_.partition = PartitionIndex(0);
  }

  std::string directory_;
  std::unique_ptr<Broker> broker_;
  TopicPartition partition_;
};

// What would take minutes or slow down all that follows, as it should.
bool takes_long(std::uint16_t api, std::span<const std::byte> table) {
  if (api == 11) {
    const auto* request = wire::verified_table<fb::CreateTopicRequest>(table);
    return request != nullptr && request->partitions() > 4;
  }
  if (api == 15) {
    const auto* request = wire::verified_table<fb::AddPartitionsRequest>(table);
    return request != nullptr && request->total() > 8;
  }
  if (api == 61) {
    const auto* request = wire::verified_table<fb::BrokerSettingsRequest>(table);
    if (request == nullptr || request->changes() == nullptr) return false;
    return std::ranges::any_of(*request->changes(), [](const fb::SettingChange* change) {
      return change->name() != nullptr && change->value() != nullptr &&
             (change->name()->string_view().starts_with("quota") ||
              change->name()->string_view().starts_with("log"));
    });
  }
  return false;
}

// Puts the topic that is there in the place of the one that corpora name.
void name_topic(std::span<std::byte> bytes, const TopicId& topic) {
  const TopicId known = fuzz::fuzzed_partition().topic;
  const auto placeholder = std::as_bytes(std::span(known.bytes));
  std::vector<std::byte> wanted(placeholder.begin(), placeholder.end());
  for (auto at = bytes.begin();;) {
    at = std::search(at, bytes.end(), wanted.begin(), wanted.end());
    if (at == bytes.end()) return;
    std::memcpy(&*at, topic.bytes.data(), topic.bytes.size());
    at += static_cast<std::ptrdiff_t>(topic.bytes.size());
  }
}

void send_requests(const Socket& to, const TopicPartition& partition,
                   std::span<const std::byte> input) {
  for (int i = 0; i < kRequestsMax && input.size() >= kRequestHeadBytes; ++i) {
    const auto api = load_le<std::uint16_t>(input.data());
    const auto version = std::to_integer<std::uint16_t>(input[2]);
    const std::size_t table_bytes = load_le<std::uint16_t>(input.data() + 3);
    const std::size_t raw_bytes = load_le<std::uint16_t>(input.data() + 5);
    input = input.subspan(kRequestHeadBytes);
    // Aligned as a frame's table is.
    std::vector<std::uint64_t> memory(table_bytes / 8 + 1);
    const auto copied = input.first(std::min(table_bytes, input.size()));
    std::ranges::copy(copied, std::as_writable_bytes(std::span(memory)).begin());
    const auto table = std::as_writable_bytes(std::span(memory)).first(copied.size());
    input = input.subspan(copied.size());
    const auto raw_copied = input.first(std::min(raw_bytes, input.size()));
    std::vector<std::byte> raw(raw_copied.begin(), raw_copied.end());
    input = input.subspan(raw.size());
    if (takes_long(api, table)) continue;
    name_topic(table, partition.topic);
    fuzz::make_batches_sound(raw, partition);
    send_frame(to, api, version, static_cast<std::uint64_t>(i) + 10, table, raw);
  }
}

void fuzz_requests(std::span<const std::byte> input) {
  static std::unique_ptr<FuzzedBroker> broker;
  static int inputs = 0;
  if (inputs++ % kInputsPerBroker == 0) {
    broker.reset();
    broker = std::make_unique<FuzzedBroker>();
  }
  if (input.empty()) return;
  const Socket socket(broker->port());
  if ((std::to_integer<unsigned>(input[0]) & 1) != 0) hello(socket);
  send_requests(socket, broker->partition(), input.subspan(1));
  static const auto ping = table_of([](auto& to) { return fb::CreatePingRequest(to); });
  send_frame(socket, 2, 1, kLastCorrelation, ping, {});
  (void)answer_to(socket, kLastCorrelation);
}

}  // namespace
}  // namespace tidelog::broker

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::broker::fuzz_requests({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
