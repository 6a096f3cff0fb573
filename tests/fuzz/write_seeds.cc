// Writes the corpora that need the code to make them: requests as clients send them, and the files
// of a log that lived through appends, a truncation, a clean stop and another life.
//
// Usage: write_fuzz_seeds DIRECTORY      (tests/fuzz/corpus; what is there under a name is
// replaced)
#include <flatbuffers/flatbuffers.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "log/slot_file.h"
#include "tests/fuzz/blocks.h"
#include "tests/log/log_harness.h"
#include "wire/batch_builder.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"

namespace tidelog::fuzz {
namespace {

namespace fb = wire::fb;
using Bytes = std::vector<std::byte>;

class Corpus {
 public:
  explicit Corpus(std::filesystem::path root) : root_(std::move(root)) {}

  void write(const std::string& target, const std::string& name, std::span<const std::byte> bytes) {
    std::filesystem::create_directories(root_ / target);
    std::ofstream file(root_ / target / name, std::ios::binary | std::ios::trunc);
    const auto text = as_text(bytes);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    TIDELOG_CHECK(file.good(), "the seed is written");
  }

 private:
  std::filesystem::path root_;
};

Bytes behind(std::initializer_list<unsigned> options, std::span<const std::byte> bytes) {
  Bytes all;
  for (const unsigned option : options) all.push_back(static_cast<std::byte>(option));
  all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

// --- Requests.

fb::Uuid topic() {
  const auto id = fuzzed_partition().topic;
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes.data(), 16));
}

Bytes batch_of(wire::Codec codec) {
  wire::BatchBuilder builder;
  BufferPool pool(0);
  wire::RecordView record;
  const std::string value(60, 'v');
  record.key = "key";
  record.value = value;
  for (int i = 0; i < 3; ++i) builder.add(1000 + i, record);
  const auto batch = builder.finish(codec, wire::batch_seed(fuzzed_partition()), {}, pool);
  TIDELOG_CHECK(batch.has_value(), "the batch is made");
  return {batch->bytes().begin(), batch->bytes().end()};
}

class Requests {
 public:
  explicit Requests(Corpus& corpus) : corpus_(corpus) {}

  template <typename Finish>
  void add(wire::ApiKey api, const std::string& name, Finish finish, const Bytes& raw = {}) {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(finish(to));
    Bytes one(7);
    store_le<std::uint16_t>(one.data(), static_cast<std::uint16_t>(api));
    store_le<std::uint8_t>(one.data() + 2, 1);
    store_le<std::uint16_t>(one.data() + 3, static_cast<std::uint16_t>(to.GetSize()));
    store_le<std::uint16_t>(one.data() + 5, static_cast<std::uint16_t>(raw.size()));
    const auto table = std::as_bytes(std::span(to.GetBufferPointer(), to.GetSize()));
    one.insert(one.end(), table.begin(), table.end());
    one.insert(one.end(), raw.begin(), raw.end());
    corpus_.write("request", name, behind({1}, one));
    all_.insert(all_.end(), one.begin(), one.end());
  }
  void write_all() { corpus_.write("request", "all", behind({1}, all_)); }

 private:
  Corpus& corpus_;
  Bytes all_;
};

void write_requests(Corpus& corpus) {
  using enum wire::ApiKey;
  Requests requests(corpus);
  requests.add(kHello, "hello", [&](auto& to) {
    const auto name = to.CreateString("client");
    return fb::CreateHelloRequest(to, name, name, wire::kFrameBytesMax,
                                  to.CreateVectorOfStrings({"a", "b"}), 0);
  });
  requests.add(kPing, "ping", [&](auto& to) { return fb::CreatePingRequest(to); });
  requests.add(kMetadata, "metadata", [&](auto& to) {
    const std::vector<fb::Uuid> ids{topic()};
    const auto names = to.CreateVectorOfStrings({"fuzzed", "other"});
    return fb::CreateMetadataRequest(to, names, to.CreateVectorOfStructs(ids), false,
                                     to.CreateString("a"));
  });
  requests.add(kCreateTopic, "create-topic", [&](auto& to) {
    const std::vector settings{
        fb::CreateSetting(to, to.CreateString("retention.ms"), to.CreateString("60000"))};
    return fb::CreateCreateTopicRequest(to, to.CreateString("other"), 2, 1,
                                        to.CreateVector(settings), 1000);
  });
  requests.add(kDescribeTopic, "describe-topic", [&](auto& to) {
    return fb::CreateDescribeTopicRequest(to, to.CreateString("fuzzed"));
  });
  requests.add(kAlterTopic, "alter-topic", [&](auto& to) {
    const std::vector settings{
        fb::CreateSetting(to, to.CreateString("segment.bytes"), to.CreateString("16MiB"))};
    return fb::CreateAlterTopicRequest(to, to.CreateString("fuzzed"), to.CreateVector(settings));
  });
  requests.add(kAddPartitions, "add-partitions", [&](auto& to) {
    return fb::CreateAddPartitionsRequest(to, to.CreateString("other"), 3);
  });
  for (const auto& [codec, name] : {std::pair(wire::Codec::kNone, "produce"),
                                    {wire::Codec::kGzip, "produce-gzip"},
                                    {wire::Codec::kSnappy, "produce-snappy"},
                                    {wire::Codec::kLz4, "produce-lz4"},
                                    {wire::Codec::kZstd, "produce-zstd"}}) {
    const Bytes batch = batch_of(codec);
    const auto produce = [&](auto& to) {
      const std::vector entries{
          fb::ProduceEntry(topic(), 0, static_cast<std::uint32_t>(batch.size()))};
      return fb::CreateProduceRequest(to, fb::Acks::All, 1000, to.CreateVectorOfStructs(entries));
    };
    requests.add(kProduce, name, produce, batch);
  }
  requests.add(kFetch, "fetch", [&](auto& to) {
    const std::vector changed{fb::FetchPartition(topic(), 0, 1 << 20, 0, -1, -1)};
    const std::vector forgotten{fb::ForgottenPartition(topic(), 1)};
    return fb::CreateFetchRequest(to, 0, to.CreateVectorOfStructs(changed),
                                  to.CreateVectorOfStructs(forgotten), 1, 50, 1 << 20);
  });
  requests.add(kListOffsets, "list-offsets", [&](auto& to) {
    const std::vector entries{fb::ListOffsetsEntry(topic(), 0, 0, 1001)};
    return fb::CreateListOffsetsRequest(to, to.CreateVectorOfStructs(entries));
  });
  requests.add(kEpochEnd, "epoch-end", [&](auto& to) {
    const std::vector entries{fb::EpochEndEntry(topic(), 0, 1)};
    return fb::CreateEpochEndRequest(to, to.CreateVectorOfStructs(entries));
  });
  requests.add(kInitProducerId, "init-producer-id",
               [&](auto& to) { return fb::CreateInitProducerIdRequest(to); });
  requests.add(kDeleteRecords, "delete-records", [&](auto& to) {
    const std::vector entries{fb::DeleteRecordsEntry(topic(), 0, 0, 2)};
    return fb::CreateDeleteRecordsRequest(to, to.CreateVectorOfStructs(entries));
  });
  requests.add(kCancel, "cancel", [&](auto& to) { return fb::CreateCancelRequest(to, 10); });
  requests.add(kClusterStatus, "cluster-status",
               [&](auto& to) { return fb::CreateClusterStatusRequest(to); });
  requests.add(kBrokerSettings, "broker-settings", [&](auto& to) {
    const std::vector changes{
        fb::CreateSettingChange(to, to.CreateString("default.partitions"), to.CreateString("2"))};
    return fb::CreateBrokerSettingsRequest(to, to.CreateVector(changes));
  });
  requests.add(kDeleteTopic, "delete-topic", [&](auto& to) {
    return fb::CreateDeleteTopicRequest(to, to.CreateString("other"));
  });
  requests.write_all();
}

// --- Files.

void append(log::LogHarness& harness, const TopicPartition& id, int count, std::size_t bytes,
            std::int32_t epoch) {
  for (int i = 0; i < count; ++i) {
    TIDELOG_CHECK(harness.append(id, bytes, LeaderEpoch(epoch)).has_value(), "it is appended");
    TIDELOG_CHECK(harness.wait_durable(id), "it is durable");
  }
}

void write_slots(Corpus& corpus, sim::SimDisk& disk, const std::string& life) {
  const auto body_of = [&](const std::string& path) {
    const Bytes file = disk.contents(path);
    return Bytes(file.begin() + log::kSlotHeaderBytes, file.end());
  };
  corpus.write("catalog", life, body_of("data/catalog.0"));
  corpus.write("checkpoint", life, body_of("data/checkpoint.0"));
  Bytes both = disk.contents("data/meta.0");
  const std::size_t split = align_up(both.size(), 4);
  both.resize(split);
  const Bytes second = disk.contents("data/meta.1");
  both.insert(both.end(), second.begin(), second.end());
  corpus.write("slot", life, behind({3, static_cast<unsigned>(split / 4)}, both));
}

void write_files(Corpus& corpus, sim::SimDisk& disk, const std::string& life) {
  write_slots(corpus, disk, life);
  for (const std::string& path : disk.files()) {
    if (path.starts_with("data/journal/")) {
      corpus.write("journal", life, behind({1}, pack_blocks(disk.contents(path))));
    }
    if (path.starts_with("data/" + fuzzed_partition().to_string()) && path.ends_with(".log")) {
      corpus.write("segment", life + path.substr(path.size() - 6, 2),
                   behind({1 | 2, 0, 2}, pack_blocks(disk.contents(path))));
    }
  }
}

void write_log(Corpus& corpus) {
  auto disk = std::make_unique<sim::SimDisk>();
  log::Ledger ledger;
  log::HarnessOptions options;
  options.shards = 1;
  options.store.shard.destage_bytes = 1 << 10;
  options.settings.segment_bytes = 1 << 20;
  const TopicPartition id = fuzzed_partition();
  {
    log::LogHarness harness(*disk, ledger, options);
    TIDELOG_CHECK(harness.open() && harness.create(id), "the log is made");
    append(harness, id, 6, 200, 1);
    harness.pass(std::chrono::milliseconds(200));
    append(harness, id, 4, 100, 1);
    TIDELOG_CHECK(harness.truncate(id, Offset(3)), "it is cut");
    append(harness, id, 2, 100, 2);
    harness.pass(std::chrono::seconds(6));
    disk->power_off();
  }
  disk = disk->crash_image(sim::CrashPolicy::everything());
  write_files(corpus, *disk, "crashed");
  {
    log::LogHarness harness(*disk, ledger, options);
    TIDELOG_CHECK(harness.open().has_value(), "it starts again");
    append(harness, id, 3, 100, 3);
    TIDELOG_CHECK(harness.stop_cleanly(), "it stops");
  }
  write_files(corpus, *disk, "stopped");
  const Bytes marker = disk->contents("data/clean-stop");
  corpus.write("checkpoint", "clean-stop", std::span(marker).subspan(log::kSlotHeaderBytes));
}

}  // namespace
}  // namespace tidelog::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_fuzz_seeds DIRECTORY\n", stderr);
    return 2;
  }
  tidelog::fuzz::Corpus corpus(argv[1]);
  tidelog::fuzz::write_requests(corpus);
  tidelog::fuzz::write_log(corpus);
  return 0;
}
