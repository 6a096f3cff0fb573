#include "base/ids.h"

#include <gtest/gtest.h>

#include <set>
#include <type_traits>

#include "base/random.h"

namespace tidelog {
namespace {

static_assert(!std::is_convertible_v<std::int64_t, Offset>);
static_assert(!std::is_convertible_v<Offset, std::int64_t>);
static_assert(!std::is_constructible_v<Offset, PartitionIndex>);

TEST(StrongIntTest, CountsAndCompares) {
  Offset offset(5);
  EXPECT_EQ(offset + 3, Offset(8));
  EXPECT_EQ(offset - 3, Offset(2));
  EXPECT_EQ(Offset(8) - offset, 3);
  EXPECT_EQ(++offset, Offset(6));
  EXPECT_LT(Offset(6), Offset(7));
}

TEST(TopicIdTest, ReadsWhatItWrites) {
  TopicId id;
  for (std::uint8_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::uint8_t>(i * 17);
  EXPECT_EQ(id.to_string(), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(TopicId::parse(id.to_string()), id);
  EXPECT_EQ(TopicId::parse("00112233445566778899AABBCCDDEEFF"), id);
  EXPECT_EQ((TopicPartition{id, PartitionIndex(12)}.to_string()),
            "00112233445566778899aabbccddeeff/12");
}

TEST(TopicIdTest, RefusesTextThatIsNoId) {
  EXPECT_EQ(TopicId::parse(""), std::nullopt);
  EXPECT_EQ(TopicId::parse("00112233445566778899aabbccddeef"), std::nullopt);
  EXPECT_EQ(TopicId::parse("00112233445566778899aabbccddeeff0"), std::nullopt);
  EXPECT_EQ(TopicId::parse("00112233445566778899aabbccddeefg"), std::nullopt);
  EXPECT_EQ(TopicId::parse("../../../../../../../../../etc/x"), std::nullopt);
}

TEST(TopicIdTest, MakesIdsThatDiffer) {
  std::set<TopicId> ids;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(ids.insert(TopicId::random()).second);
  EXPECT_FALSE(ids.contains(TopicId{}));
  EXPECT_TRUE(TopicId{}.is_nil());
  EXPECT_NE(random_id(), random_id());
}

}  // namespace
}  // namespace tidelog
