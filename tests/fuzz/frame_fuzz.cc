// A frame as it comes from the network: the prefix as it is, and what follows it as every request
// table.
#include <algorithm>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::wire {
namespace {

// Reads every byte a handler could reach, so that ASan sees a pointer that leads outside.
std::size_t touched = 0;

void touch(const flatbuffers::String* text) {
  if (text == nullptr) return;
  for (const char c : text->string_view()) touched += static_cast<unsigned char>(c);
}
template <typename T>
void touch(const flatbuffers::Vector<const T*>* structs) {
  if (structs == nullptr) return;
  for (const T* one : *structs) {
    TIDELOG_CHECK(reinterpret_cast<std::uintptr_t>(one) % alignof(T) == 0,
                  "a handler may read a struct only where it is aligned");
    std::byte bytes[sizeof(T)];
    std::memcpy(bytes, one, sizeof(T));
    for (const std::byte byte : bytes) touched += std::to_integer<std::size_t>(byte);
  }
}
void touch(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* texts) {
  if (texts == nullptr) return;
  for (const flatbuffers::String* text : *texts) touch(text);
}
void touch(const fb::Uuid* id) {
  if (id == nullptr) return;
  for (const std::uint8_t byte : *id->bytes()) touched += byte;
}

void touch(const fb::HelloRequest& request) {
  touch(request.client_name());
  touch(request.client_version());
  touch(request.features());
  touch(request.cluster_id());
}
void touch(const fb::PingRequest&) {}
void touch(const fb::MetadataRequest& request) {
  touch(request.names());
  touch(request.ids());
  touch(request.after());
}
void touch(const fb::CreateTopicRequest& request) {
  touch(request.name());
  if (request.settings() == nullptr) return;
  for (const fb::Setting* setting : *request.settings()) {
    touch(setting->name());
    touch(setting->value());
  }
}
void touch(const fb::DeleteTopicRequest& request) { touch(request.name()); }
void touch(const fb::AlterTopicRequest& request) {
  touch(request.name());
  if (request.settings() == nullptr) return;
  for (const fb::Setting* setting : *request.settings()) {
    touch(setting->name());
    touch(setting->value());
  }
}
void touch(const fb::AddPartitionsRequest& request) { touch(request.name()); }
void touch(const fb::DeleteRecordsRequest& request) { touch(request.entries()); }
void touch(const fb::DescribeTopicRequest& request) { touch(request.name()); }
void touch(const fb::ProduceRequest& request) { touch(request.entries()); }
void touch(const fb::FetchRequest& request) {
  touch(request.changed());
  touch(request.forgotten());
}
void touch(const fb::ListOffsetsRequest& request) { touch(request.entries()); }
void touch(const fb::EpochEndRequest& request) { touch(request.entries()); }
void touch(const fb::CancelRequest&) {}
void touch(const fb::ClusterStatusRequest&) {}
void touch(const fb::InitProducerIdRequest&) {}
void touch(const fb::BrokerSettingsRequest& request) {
  if (request.changes() == nullptr) return;
  for (const fb::SettingChange* change : *request.changes()) {
    touch(change->name());
    touch(change->value());
  }
}

template <typename... Requests>
void read_as(std::span<const std::byte> table) {
  const auto read = [&]<typename Request>(const Request* request) {
    if (request != nullptr) touch(*request);
  };
  (read(verified_table<Requests>(table)), ...);
}

void fuzz_frame(std::span<const std::byte> input) {
  (void)check_frame_begin(input);
  if (input.size() < kFramePrefixBytes) return;
  const auto prefix_bytes = input.first<kFramePrefixBytes>();
  const auto behind = input.subspan(kFramePrefixBytes);
  if (const auto prefix = decode_frame_prefix(prefix_bytes, kHelloFrameBytesMax)) {
    TIDELOG_CHECK(prefix->raw_position() <= prefix->frame_bytes, "a table inside its frame");
    if (prefix->table_bytes <= behind.size()) {
      const std::size_t checked = prefix->raw_position() - kFramePrefixBytes;
      (void)check_frame(prefix_bytes, behind.first(std::min(behind.size(), checked)));
    }
  }

  // Whatever the prefix says: a table of the whole rest, in exactly its size for ASan.
  const std::unique_ptr<std::byte[]> copy(new std::byte[behind.size()]);  // aligned to 16
  if (!behind.empty()) std::memcpy(copy.get(), behind.data(), behind.size());
  const std::span<const std::byte> table(copy.get(), behind.size());
  read_as<fb::HelloRequest, fb::PingRequest, fb::MetadataRequest, fb::CreateTopicRequest,
          fb::DeleteTopicRequest, fb::AlterTopicRequest, fb::AddPartitionsRequest,
          fb::DeleteRecordsRequest, fb::DescribeTopicRequest, fb::ProduceRequest, fb::FetchRequest,
          fb::ListOffsetsRequest, fb::EpochEndRequest, fb::CancelRequest, fb::ClusterStatusRequest,
          fb::BrokerSettingsRequest, fb::InitProducerIdRequest>(table);

  // What is sent is accepted.
  static BufferPool pool(1 << 20);
  const SharedBytes sent = encode_frame({ApiKey::kProduce, 1, 7, 0}, table, 0, pool);
  const auto sent_prefix = sent.bytes().first<kFramePrefixBytes>();
  const auto decoded = decode_frame_prefix(sent_prefix, sent.size());
  TIDELOG_CHECK(decoded && decoded->table_bytes == table.size(), "an encoded frame decodes");
  TIDELOG_CHECK(check_frame(sent_prefix, sent.bytes().subspan(kFramePrefixBytes)).has_value(),
                "an encoded frame is sound");
}

}  // namespace
}  // namespace tidelog::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::wire::fuzz_frame({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
