#include "client/consumer/fetch_session.h"

#include <gtest/gtest.h>

namespace tidelog::client_core {
namespace {

Reading reading_of(std::int32_t partition) {
  Reading reading;
  reading.partition = PartitionIndex(partition);
  reading.topic.bytes[0] = 1;
  return reading;
}

TEST(FetchSessionTest, NamesAPartitionOnceHoweverOftenItLeftBetweenTwoFetches) {
  FetchSession session({BrokerId(1), 0});
  Reading stays = reading_of(0);
  Reading leaves = reading_of(1);
  session.join(stays);
  session.join(leaves);
  session.begin_fetch(1000);
  ASSERT_TRUE(session.ended(session.ticket()));
  session.opened(7);
  for (int i = 0; i < 30'000; ++i) {
    for (Reading* reading : {&stays, &leaves}) {
      session.leave(*reading);
      session.join(*reading);
    }
  }
  session.leave(leaves);
  const FetchRequest request = session.begin_fetch(1000);
  ASSERT_EQ(request.changed.size(), 1U);
  EXPECT_EQ(request.changed[0].partition, stays.id());
  ASSERT_EQ(request.forgotten.size(), 1U);
  EXPECT_EQ(request.forgotten[0], leaves.id());
  EXPECT_TRUE(session.begin_fetch(1000).forgotten.empty());
}

}  // namespace
}  // namespace tidelog::client_core
