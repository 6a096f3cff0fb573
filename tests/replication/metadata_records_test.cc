#include "replication/metadata_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replication/metadata_image.h"

namespace tidelog::replication {
namespace {

using testing::HasSubstr;

const TopicId kTopic = *TopicId::parse("000102030405060708090a0b0c0d0e0f");

TEST(MetadataRecordsTest, KeysReadBack) {
  EXPECT_EQ(name_key("orders"), "/n/orders");
  EXPECT_EQ(topic_key(kTopic), "/t/000102030405060708090a0b0c0d0e0f");
  const TopicPartition partition{kTopic, PartitionIndex(12)};
  EXPECT_EQ(partition_key(partition), "/p/000102030405060708090a0b0c0d0e0f/12");
  EXPECT_EQ(parse_topic_key(topic_key(kTopic)), kTopic);
  EXPECT_EQ(parse_partition_key(partition_key(partition)), partition);
  for (const char* bad :
       {"/p/000102030405060708090a0b0c0d0e0f", "/p/x/1", "", "/p/000102030405060708090a0b0c0d0e0f/",
        "/t/000102030405060708090a0b0c0d0e0f/1", "/p/000102030405060708090a0b0c0d0e0f/-1",
        "/p/000102030405060708090a0b0c0d0e0f/1x"}) {
    EXPECT_EQ(parse_partition_key(bad), std::nullopt) << bad;
  }
}

// The very text is the format: what REPLICATION.md shows.
TEST(MetadataRecordsTest, ValuesAreTheDocumentedText) {
  TopicRecord topic{"orders", TopicState::kReady, 3, 1, {}, "00000000000000a1"};
  ASSERT_TRUE(topic.settings.set("segment.bytes", "1MiB"));
  EXPECT_EQ(encode(topic),
            R"({"name":"orders","nonce":"00000000000000a1","partitions":3,"replication_factor":1,)"
            R"("settings":{"segment.bytes":"1048576"},"state":"READY"})");
  EXPECT_EQ(encode(NameRecord{kTopic, "00000000000000a1"}),
            R"({"nonce":"00000000000000a1","topic_id":"000102030405060708090a0b0c0d0e0f"})");
  const PartitionRecord partition{
      {{BrokerId(0), 0xb2}}, {BrokerId(0)}, BrokerId(0), LeaderEpoch(7), 1, "00000000000000a1"};
  EXPECT_EQ(encode(partition),
            R"({"isr":[{"broker":0}],"leader":{"broker":0},"leader_epoch":7,"min_isr":1,)"
            R"("nonce":"00000000000000a1","replicas":[{"broker":0,"id":"00000000000000b2"}]})");
}

TEST(MetadataRecordsTest, ValuesReadBack) {
  TopicRecord topic{"orders", TopicState::kDeleted, 10'000, 3, {}, "n"};
  ASSERT_TRUE(topic.settings.set("min.insync.replicas", "2"));
  const auto topic_again = decode_topic("k", encode(topic));
  ASSERT_TRUE(topic_again);
  EXPECT_EQ(encode(*topic_again), encode(topic));
  const PartitionRecord partition{{{BrokerId(0), ~0ULL}, {BrokerId(5), 1}},
                                  {BrokerId(5)},
                                  BrokerId(5),
                                  LeaderEpoch(2'147'483'647),
                                  2,
                                  "n"};
  const auto partition_again = decode_partition("k", encode(partition));
  ASSERT_TRUE(partition_again);
  EXPECT_EQ(encode(*partition_again), encode(partition));
  EXPECT_EQ(nonce_of(encode(partition)), "n");
}

TEST(MetadataRecordsTest, RefusesValuesThatCannotBe) {
  const std::string topic = encode(TopicRecord{"t", TopicState::kReady, 1, 1, {}, "n"});
  const auto with = [](std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad :
       {std::string(""), std::string("{"), std::string("[]"), std::string("{}"),
        with(topic, "READY", "ready"), with(topic, "\"partitions\":1", "\"partitions\":0"),
        with(topic, "\"partitions\":1", "\"partitions\":10001"),
        with(topic, "\"partitions\":1", "\"partitions\":1.5"),
        with(topic, "\"partitions\":1", "\"partitions\":99999999999999999999"),
        with(topic, "\"settings\":{}", "\"settings\":{\"no.such\":\"1\"}"),
        with(topic, "\"settings\":{}", "\"settings\":7"), with(topic, "\"n\"", "7")}) {
    const auto refused = decode_topic("/t/x", bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code(), ErrorCode::kCorruptData);
    EXPECT_THAT(refused.error().message(), HasSubstr("/t/x"));
  }
  const std::string partition = encode(
      PartitionRecord{{{BrokerId(0), 1}}, {BrokerId(0)}, BrokerId(0), LeaderEpoch(0), 1, "n"});
  for (const std::string& bad :
       {std::string("null"), with(partition, "\"isr\":[{\"broker\":0}]", "\"isr\":[]"),
        with(partition, "\"isr\":[{\"broker\":0}]", "\"isr\":[0]"),
        with(partition, "\"isr\":[{\"broker\":0}]", "\"isr\":[{\"broker\":-1}]"),
        with(partition, "0000000000000001", "1"),
        with(partition, "\"leader\":{\"broker\":0}", "\"leader\":0")}) {
    EXPECT_FALSE(decode_partition("/p/x/0", bad)) << bad;
  }
}

// ---- keys that belong together ----

struct Keys {
  std::vector<KeyValue> names, topics, partitions;
};
KeyValue at(std::string key, std::string value) { return {std::move(key), std::move(value), 1, 1}; }

Keys sound_keys() {
  const PartitionRecord partition{
      {{BrokerId(0), 1}}, {BrokerId(0)}, BrokerId(0), LeaderEpoch(0), 1, "n"};
  Keys keys;
  keys.names = {at("/n/t", encode(NameRecord{kTopic, "n"}))};
  keys.topics = {
      at(topic_key(kTopic), encode(TopicRecord{"t", TopicState::kReady, 2, 1, {}, "n"}))};
  for (const int i : {0, 1}) {
    keys.partitions.push_back(at(partition_key({kTopic, PartitionIndex(i)}), encode(partition)));
  }
  return keys;
}
Result<MetadataImage> image_of(const Keys& keys) {
  return read_image(keys.names, keys.topics, keys.partitions);
}

TEST(MetadataImageTest, ReadsATopicWithItsPartitions) {
  const auto image = image_of(sound_keys());
  ASSERT_TRUE(image);
  const auto view = view_of(image->at(kTopic));
  EXPECT_EQ(view->name, "t");
  ASSERT_EQ(view->partitions.size(), 2u);
  EXPECT_EQ(view->partitions[1].leader, BrokerId(0));
}

TEST(MetadataImageTest, RefusesKeysThatLackTheirCounterpart) {
  const auto message = [](const Keys& keys) {
    const auto refused = image_of(keys);
    return refused ? std::string("accepted") : refused.error().message();
  };
  Keys keys = sound_keys();
  keys.names.clear();
  EXPECT_THAT(message(keys), HasSubstr("has no key /n/t"));
  keys = sound_keys();
  keys.topics.clear();
  EXPECT_THAT(message(keys), HasSubstr("has no topic key"));
  keys = sound_keys();
  keys.partitions.pop_back();
  EXPECT_THAT(message(keys), HasSubstr("lacks its partition 1"));
  keys = sound_keys();
  keys.names[0].key = "/n/other";
  EXPECT_THAT(message(keys), HasSubstr("/n/other points at a topic whose name is 't'"));
  keys = sound_keys();
  keys.topics[0].value = encode(TopicRecord{"t", TopicState::kDeleted, 2, 1, {}, "n"});
  EXPECT_THAT(message(keys), HasSubstr("which does not exist"));
  keys = sound_keys();
  keys.partitions[1].key = partition_key({kTopic, PartitionIndex(2)});
  EXPECT_THAT(message(keys), HasSubstr("is beyond the 2 partitions"));
}

}  // namespace
}  // namespace tidelog::replication
