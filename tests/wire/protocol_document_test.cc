// wire/PROTOCOL.md promises bytes, numbers and names; here the code is held to them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "base/bytes.h"
#include "base/checksum.h"
#include "tests/wire/hex.h"
#include "wire/batch_builder.h"
#include "wire/compression.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::wire {
namespace {

constexpr std::int64_t kAppendTimeUs = 1700000000999123;

class ProtocolDocumentTest : public testing::Test {
 protected:
  ProtocolDocumentTest() {
    std::ifstream file(TIDELOG_PROTOCOL_DOCUMENT);
    EXPECT_TRUE(file) << TIDELOG_PROTOCOL_DOCUMENT;
    std::string line;
    std::vector<std::byte>* block = nullptr;
    while (std::getline(file, line)) {
      if (line.starts_with("```hex ")) {
        block = &blocks_[line.substr(7)];
      } else if (line.starts_with("```")) {
        block = nullptr;
      } else if (block != nullptr) {
        add_line(*block, line);
      } else if (line.starts_with("| ")) {
        rows_.push_back(line);
      }
    }
    for (std::uint8_t i = 0; i < 16; ++i) topic_.topic.bytes[i] = i;
    topic_.partition = PartitionIndex(7);
    seed_ = batch_seed(topic_);
  }

  // "0020  14 00 00 00  ; comment": the position in hex, bytes, what they mean.
  static void add_line(std::vector<std::byte>& block, const std::string& line) {
    EXPECT_EQ(std::stoul(line, nullptr, 16), block.size()) << line;
    const std::string hex = line.substr(4, line.find(';') - 4);
    const std::vector<std::byte> bytes = bytes_of_hex(hex);
    EXPECT_FALSE(bytes.empty()) << line;
    block.insert(block.end(), bytes.begin(), bytes.end());
  }

  // The frame of a block: prefix decoded and checked, table verified.
  template <typename Table>
  const Table* decode(const std::string& name) {
    const std::vector<std::byte>& bytes = blocks_[name];
    if (bytes.size() < kFramePrefixBytes) {
      ADD_FAILURE() << name << " is missing";
      return nullptr;
    }
    const auto prefix_bytes = std::span(bytes).first<kFramePrefixBytes>();
    const auto prefix = decode_frame_prefix(prefix_bytes, kHelloFrameBytesMax);
    if (!prefix) {
      ADD_FAILURE() << name << ": " << prefix.error().to_string();
      return nullptr;
    }
    prefix_ = *prefix;
    EXPECT_EQ(prefix_.frame_bytes, bytes.size()) << name;
    const auto behind = std::span(bytes).subspan(kFramePrefixBytes);
    EXPECT_TRUE(check_frame(prefix_bytes, behind.first(prefix_.raw_position() - kFramePrefixBytes)))
        << name;
    table_.resize(prefix_.table_bytes / 8 + 1);
    std::memcpy(table_.data(), behind.data(), prefix_.table_bytes);
    raw_.assign(bytes.begin() + static_cast<long>(prefix_.raw_position()), bytes.end());
    const auto* table =
        verified_table<Table>(std::as_bytes(std::span(table_)).first(prefix_.table_bytes));
    EXPECT_NE(table, nullptr) << name;
    return table;
  }

  // What this program sends for the same message.
  std::string encoded(const FrameHead& head, const flatbuffers::FlatBufferBuilder& table,
                      std::span<const std::byte> raw = {}) {
    const SharedBytes frame = encode_frame(head, table, raw.size(), pool_);
    return hex_of_bytes(frame.bytes()) + hex_of_bytes(raw);
  }
  std::string block_hex(const std::string& name) { return hex_of_bytes(blocks_[name]); }

  std::vector<std::byte> example_batch() {
    BatchBuilder builder;
    builder.add(1700000000000, {.key = "k", .value = "hello"});
    builder.add(1700000000300, {.value = "", .headers = {{"h", "1"}, {"n", std::nullopt}}});
    builder.add(1699999999995, {.key = ""});
    const auto batch = builder.finish(Codec::kNone, seed_, {}, pool_);
    return {batch->bytes().begin(), batch->bytes().end()};
  }

  fb::Uuid topic_uuid() const {
    return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(topic_.topic.bytes.data(), 16));
  }
  static bool same_bytes(const fb::Uuid* id, const TopicId& topic) {
    return id != nullptr && std::memcmp(id, topic.bytes.data(), 16) == 0;
  }

  // The rows of the document's table whose heading begins with `heading`.
  std::vector<std::string> table_rows(std::string_view heading) const {
    auto at =
        std::ranges::find_if(rows_, [&](const auto& row) { return row.starts_with(heading); });
    std::vector<std::string> rows;
    if (at == rows_.end()) return rows;
    for (++at;
         at != rows_.end() && !at->starts_with("| Number") && !at->starts_with("| Key") &&
         !at->starts_with("| Limit") && !at->starts_with("| Offset") && !at->starts_with("| Codec");
         ++at) {
      rows.push_back(*at);
    }
    return rows;
  }

  std::map<std::string, std::vector<std::byte>> blocks_;
  std::vector<std::string> rows_;
  TopicPartition topic_;
  std::uint64_t seed_ = 0;
  BufferPool pool_{1 << 20};
  FramePrefix prefix_;
  std::vector<std::uint64_t> table_;
  std::vector<std::byte> raw_;
};

TEST_F(ProtocolDocumentTest, ShowsAHelloAsItIsSent) {
  flatbuffers::FlatBufferBuilder table;
  const auto name = table.CreateString("minimal");
  const auto version = table.CreateString("1.0");
  fb::HelloRequestBuilder request(table);
  request.add_client_name(name);
  request.add_client_version(version);
  request.add_frame_bytes_max(8 << 20);
  table.Finish(request.Finish());
  EXPECT_EQ(block_hex("hello-request"), encoded({ApiKey::kHello, 1, 1, 0}, table));

  const auto* decoded = decode<fb::HelloRequest>("hello-request");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(prefix_.correlation, 1U);
  EXPECT_EQ(prefix_.api_key, 1);
  EXPECT_EQ(prefix_.flags, 0);
  EXPECT_EQ(decoded->client_name()->string_view(), "minimal");
  EXPECT_EQ(decoded->client_version()->string_view(), "1.0");
  EXPECT_EQ(decoded->frame_bytes_max(), kFrameBytesMax);
  EXPECT_EQ(decoded->wanted_shard(), -1);
}

TEST_F(ProtocolDocumentTest, ShowsTheAnswerToAHello) {
  flatbuffers::FlatBufferBuilder table;
  const auto status = fb::CreateStatus(table);
  const auto version = table.CreateString("0.1.0");
  // A broker that had these; the table of APIs has all that there are now.
  std::vector<fb::ApiRange> ranges;
  for (const std::uint16_t key : {1, 2, 10, 11, 12, 13, 20, 21, 22}) ranges.emplace_back(key, 1, 1);
  const auto apis = table.CreateVectorOfStructs(ranges);
  const fb::Uuid cluster = topic_uuid();
  fb::HelloAnswerBuilder answer(table);
  answer.add_status(status);
  answer.add_cluster_id(&cluster);
  answer.add_broker_id(1);
  answer.add_broker_version(version);
  answer.add_apis(apis);
  answer.add_shard_count(2);
  answer.add_frame_bytes_max(kFrameBytesMax);
  answer.add_batch_bytes_max(kBatchBytesMax);
  answer.add_requests_in_flight_max(kRequestsInFlightMax);
  answer.add_bytes_in_flight_max(kBytesInFlightMax);
  answer.add_unsettled_batches_max(kUnsettledBatchesMax);
  answer.add_idle_timeout_ms(600'000);
  table.Finish(answer.Finish());
  EXPECT_EQ(block_hex("hello-answer"), encoded({ApiKey::kHello, 1, 1, kFrameAnswer}, table));

  const auto* decoded = decode<fb::HelloAnswer>("hello-answer");
  ASSERT_NE(decoded, nullptr);
  EXPECT_TRUE(prefix_.is_answer());
  EXPECT_EQ(decoded->status()->code(), 0);
  EXPECT_EQ(decoded->apis()->size(), 9U);
  EXPECT_EQ(decoded->apis()->Get(6)->key(), 20);
  EXPECT_EQ(decoded->batch_bytes_max(), kBatchBytesMax);
  EXPECT_EQ(decoded->idle_timeout_ms(), 600'000U);
}

TEST_F(ProtocolDocumentTest, ShowsAProduceAndItsBatch) {
  const std::vector<std::byte> batch = example_batch();
  flatbuffers::FlatBufferBuilder table;
  const std::vector<fb::ProduceEntry> entries = {
      fb::ProduceEntry(topic_uuid(), 7, static_cast<std::uint32_t>(batch.size()))};
  const auto listed = table.CreateVectorOfStructs(entries);
  table.Finish(fb::CreateProduceRequest(table, fb::Acks::All, 30'000, listed));
  EXPECT_EQ(block_hex("produce-request"), encoded({ApiKey::kProduce, 1, 2, 0}, table, batch));

  const auto* decoded = decode<fb::ProduceRequest>("produce-request");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->acks(), fb::Acks::All);
  EXPECT_EQ(decoded->deadline_ms(), 30'000U);
  ASSERT_EQ(decoded->entries()->size(), 1U);
  EXPECT_TRUE(same_bytes(&decoded->entries()->Get(0)->topic(), topic_.topic));
  EXPECT_EQ(decoded->entries()->Get(0)->partition(), 7);
  EXPECT_EQ(decoded->entries()->Get(0)->bytes(), raw_.size());

  const auto view = BatchView::parse(raw_, kBatchBytesMax);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(check_produced_batch(*view, seed_).has_value());
  RecordReader reader(view->records(), view->record_count());
  RecordView record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.key, "k");
  EXPECT_EQ(record.value, "hello");
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.timestamp_delta_ms, 300);
  EXPECT_EQ(record.key, std::nullopt);
  EXPECT_EQ(record.value, "");
  ASSERT_EQ(record.headers.size(), 2U);
  EXPECT_EQ(record.headers[0].key, "h");
  EXPECT_EQ(record.headers[0].value, "1");
  EXPECT_EQ(record.headers[1].value, std::nullopt);
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.timestamp_delta_ms, -5);
  EXPECT_EQ(record.value, std::nullopt);
  EXPECT_FALSE(reader.has_next());
}

TEST_F(ProtocolDocumentTest, ShowsTheAnswerToAProduce) {
  flatbuffers::FlatBufferBuilder table;
  const auto status = fb::CreateStatus(table);
  const fb::Uuid topic = topic_uuid();
  fb::ProduceResultBuilder result(table);
  result.add_topic(&topic);
  result.add_partition(7);
  result.add_base_offset(4096);
  result.add_append_time_us(kAppendTimeUs);
  result.add_start_offset(0);
  const auto results = table.CreateVector(std::vector{result.Finish()});
  table.Finish(fb::CreateProduceAnswer(table, status, results));
  EXPECT_EQ(block_hex("produce-answer"), encoded({ApiKey::kProduce, 1, 2, kFrameAnswer}, table));

  const auto* decoded = decode<fb::ProduceAnswer>("produce-answer");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->results()->Get(0)->status(), nullptr);
  EXPECT_EQ(decoded->results()->Get(0)->base_offset(), 4096);
  EXPECT_EQ(decoded->results()->Get(0)->append_time_us(), kAppendTimeUs);
}

TEST_F(ProtocolDocumentTest, ShowsAFetch) {
  flatbuffers::FlatBufferBuilder table;
  const std::vector<fb::FetchPartition> partitions = {
      fb::FetchPartition(topic_uuid(), 7, 1 << 20, 4096, -1, -1)};
  const auto changed = table.CreateVectorOfStructs(partitions);
  fb::FetchRequestBuilder request(table);
  request.add_changed(changed);
  request.add_max_wait_ms(500);
  request.add_bytes_max(4 << 20);
  table.Finish(request.Finish());
  EXPECT_EQ(block_hex("fetch-request"), encoded({ApiKey::kFetch, 1, 3, 0}, table));

  const auto* decoded = decode<fb::FetchRequest>("fetch-request");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->session(), 0U);
  EXPECT_EQ(decoded->min_bytes(), 1U);
  EXPECT_EQ(decoded->max_wait_ms(), 500U);
  EXPECT_EQ(decoded->changed()->Get(0)->offset(), 4096);
  EXPECT_EQ(decoded->changed()->Get(0)->last_epoch(), -1);
}

TEST_F(ProtocolDocumentTest, ShowsTheAnswerToAFetch) {
  std::vector<std::byte> batch = example_batch();
  stamp_batch(batch, {Offset(4096), LeaderEpoch(9), kAppendTimeUs, std::nullopt}, seed_);
  flatbuffers::FlatBufferBuilder table;
  const auto status = fb::CreateStatus(table);
  const fb::Uuid topic = topic_uuid();
  fb::FetchResultBuilder result(table);
  result.add_topic(&topic);
  result.add_partition(7);
  result.add_high_watermark(4099);
  result.add_last_stable_offset(4099);
  result.add_next_offset(4099);
  result.add_bytes(static_cast<std::uint32_t>(batch.size()));
  const auto results = table.CreateVector(std::vector{result.Finish()});
  table.Finish(fb::CreateFetchAnswer(table, status, 77, results));
  EXPECT_EQ(block_hex("fetch-answer"), encoded({ApiKey::kFetch, 1, 3, kFrameAnswer}, table, batch));

  const auto* decoded = decode<fb::FetchAnswer>("fetch-answer");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->session(), 77U);
  EXPECT_EQ(decoded->results()->Get(0)->next_offset(), 4099);
  EXPECT_EQ(decoded->results()->Get(0)->bytes(), raw_.size());
  const auto view = BatchView::parse(raw_, kBatchBytesMax);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(view->verify(seed_).has_value());
  EXPECT_EQ(view->base_offset(), Offset(4096));
  EXPECT_EQ(view->leader_epoch(), LeaderEpoch(9));
}

TEST_F(ProtocolDocumentTest, ShowsANotice) {
  flatbuffers::FlatBufferBuilder table;
  const auto message = table.CreateString("broker 1 is stopping");
  const auto status =
      fb::CreateStatus(table, static_cast<std::uint16_t>(ErrorCode::kDraining), message);
  table.Finish(fb::CreateNotice(table, fb::NoticeKind::Draining, status));
  EXPECT_EQ(block_hex("notice"), encoded({}, table));

  const auto* decoded = decode<fb::Notice>("notice");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(prefix_.correlation, 0U);
  EXPECT_EQ(prefix_.api_key, 0);
  EXPECT_EQ(decoded->kind(), fb::NoticeKind::Draining);
  EXPECT_EQ(decoded->status()->code(), static_cast<std::uint16_t>(ErrorCode::kDraining));
}

TEST_F(ProtocolDocumentTest, StatesTheSeedOfItsExample) {
  std::ifstream file(TIDELOG_PROTOCOL_DOCUMENT);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(fmt::format("`{:016x}`", seed_)), std::string::npos);
}

TEST_F(ProtocolDocumentTest, ShowsEveryCodecsBytes) {
  constexpr std::string_view kText =
      "tidelog tidelog tidelog tidelog tidelog tidelog tidelog tidelog";
  std::size_t shown = 0;
  for (const std::string& row : table_rows("| Codec | Bytes")) {
    const std::size_t begin = row.find('`') + 1;
    const std::string name = row.substr(2, row.find_first_of(" ,", 2) - 2);
    const auto codec = parse_codec(name);
    if (!codec) continue;  // the line below the heading
    const auto bytes = bytes_of_hex(row.substr(begin, row.find('`', begin) - begin));
    std::vector<std::byte> out;
    ASSERT_TRUE(decompress(*codec, bytes, 1000, out).has_value()) << row;
    EXPECT_EQ(as_text(out), kText) << row;
    ++shown;
  }
  EXPECT_EQ(shown, 5U) << "four codecs, one of them twice";
  std::vector<std::string> rows = table_rows("| Number | Codec");
  ASSERT_EQ(rows.size(), supported_codecs().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Codec codec = supported_codecs()[i];
    EXPECT_TRUE(rows[i].starts_with(
        fmt::format("| {} | {} | ", static_cast<int>(codec), codec_name(codec))))
        << rows[i];
  }
}

TEST_F(ProtocolDocumentTest, ListsTheErrorsOfTheCode) {
  std::vector<std::string> expected;
  for (const ErrorInfo& info : error_table()) {
    expected.push_back(fmt::format("| {} | {} | {} | {} |", static_cast<int>(info.code), info.name,
                                   to_string(info.action), info.hint));
  }
  EXPECT_EQ(table_rows("| Number | Name | Action"), expected);
}

TEST_F(ProtocolDocumentTest, ListsTheApisOfTheCode) {
  std::vector<std::string> expected;
  for (const ApiInfo& api : api_table()) {
    expected.push_back(fmt::format("| {} | {} | {} to {} |", static_cast<int>(api.key), api.name,
                                   api.version_min, api.version_max));
  }
  std::vector<std::string> rows = table_rows("| Key | API | Versions");
  // Behind the versions a row says what the API does.
  for (std::string& row : rows) {
    std::size_t bars = 0;
    const auto end = std::ranges::find_if(row, [&](char c) { return c == '|' && ++bars == 4; });
    if (end != row.end()) row.erase(end + 1, row.end());
  }
  EXPECT_EQ(rows, expected);
}

TEST_F(ProtocolDocumentTest, ShowsAnIdGivenToAProducer) {
  flatbuffers::FlatBufferBuilder table;
  const auto status = fb::CreateStatus(table);
  table.Finish(fb::CreateInitProducerIdAnswer(table, status, 4000, 0));
  EXPECT_EQ(block_hex("init-producer-id-answer"),
            encoded({ApiKey::kInitProducerId, 1, 4, kFrameAnswer}, table));
  const auto* decoded = decode<fb::InitProducerIdAnswer>("init-producer-id-answer");
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->producer_id(), 4000);
  EXPECT_EQ(decoded->producer_epoch(), 0);
}

TEST_F(ProtocolDocumentTest, StatesTheLimitsOfTheCode) {
  const std::vector<std::pair<std::string, std::uint64_t>> limits = {
      {"port", kDefaultPort},
      {"frame before the hello is answered, bytes", kHelloFrameBytesMax},
      {"frame, bytes", kFrameBytesMax},
      {"batch, bytes", kBatchBytesMax},
      {"frame beside its batches, bytes", kFrameOverheadBytesMax},
      {"records of a batch, uncompressed, bytes", kUncompressedBatchBytesMax},
      {"records of a batch", kRecordsPerBatchMax},
      {"headers of a record", kHeadersPerRecordMax},
      {"requests in flight", kRequestsInFlightMax},
      {"bytes in flight", kBytesInFlightMax},
      {"unsettled batches of a producer in a partition", kUnsettledBatchesMax},
      {"time for the hello, ms", std::chrono::milliseconds(kHelloTimeout).count()},
      {"idle time, ms", std::chrono::milliseconds(kIdleTimeout).count()},
      {"wait of a fetch, ms", std::chrono::milliseconds(kFetchWaitMax).count()},
      {"rate of a frame once begun, bytes a second, at least", kFrameBytesPerSecondMin},
      {"topic name, bytes", kTopicNameBytesMax},
      {"partitions of a topic", kPartitionsPerTopicMax},
      {"partitions named in a request", kPartitionsPerRequestMax},
  };
  std::vector<std::string> expected;
  for (const auto& [name, value] : limits)
    expected.push_back(fmt::format("| {} | {} |", name, value));
  EXPECT_EQ(table_rows("| Limit | Value"), expected);
}

}  // namespace
}  // namespace tidelog::wire
