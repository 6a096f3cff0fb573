// Fetches of a broker in this process, and what came of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/broker/broker_fixture.h"

namespace tidelog::broker {

// Long enough that a test which waits for it has failed.
inline constexpr std::uint32_t kLongWaitMs = 15'000;

class FetchTest : public BrokerTest {
 protected:
  struct FetchedPartition {
    ErrorCode code = ErrorCode::kOk;
    std::string message;
    std::int64_t next_offset = -1;
    std::int64_t high_watermark = -1;
    std::int64_t start_offset = -1;
    std::int64_t diverging_offset = -1;
    std::int32_t diverging_epoch = -1;
    std::vector<std::string> values;
  };
  // By partition; every partition at most once.
  static std::map<TopicPartition, FetchedPartition> results_of(const Answer& answer) {
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    std::map<TopicPartition, FetchedPartition> all;
    std::size_t position = 0;
    const auto* results = answer.table<fb::FetchAnswer>().results();
    if (results == nullptr) return all;
    for (const fb::FetchResult* result : *results) {
      const TopicPartition id{topic_id_of(*result->topic()), PartitionIndex(result->partition())};
      const auto raw = answer.raw().subspan(position, result->bytes());
      position += result->bytes();
      const bool added =
          all.emplace(id, FetchedPartition{code_of(result->status()), message_of(result->status()),
                                           result->next_offset(), result->high_watermark(),
                                           result->start_offset(), result->diverging_offset(),
                                           result->diverging_epoch(), values_of(id, raw)})
              .second;
      EXPECT_TRUE(added) << "one result a partition";
    }
    EXPECT_EQ(position, answer.raw().size()) << "the counts add up";
    return all;
  }
  // Batches of one value each.
  void fill(const TopicPartition& id, std::int64_t batches, std::size_t value_bytes) {
    RawClient producer = connect();
    for (std::int64_t i = 0; i < batches; ++i) {
      producer.produce(id, make_large_batch(id, value_bytes));
    }
  }
  // A consumer that asks `fetches` times for what is in `id`, more than the sockets hold, and takes
  // nothing of the answers, which have begun to come. `end` is where the partition ends.
  RawClient consumer_that_takes_nothing(const TopicPartition& id, std::int64_t end,
                                        std::int64_t fetches, std::uint32_t bytes_max = 0) {
    RawClient slow = connect();
    const std::uint64_t session = session_of(slow.fetch({.changed = {fetch_from(id, end)}}));
    slow.send_fetch({.session = session,
                     .changed = {fetch_from(id, 0)},
                     .max_wait_ms = 60'000,
                     .bytes_max = bytes_max});
    for (std::int64_t i = 1; i < fetches; ++i) {
      slow.send_fetch({.session = session, .max_wait_ms = 60'000, .bytes_max = bytes_max});
    }
    slow.await_bytes();
    return slow;
  }
  static std::string text_of_notice(RawClient& client, ErrorCode code) {
    const std::optional<Answer> notice = client.receive();
    if (!notice || notice->prefix.correlation != 0) return "(no notice)";
    EXPECT_EQ(code_of(notice->table<fb::Notice>().status()), code);
    return message_of(notice->table<fb::Notice>().status());
  }
  static std::uint64_t session_of(const Answer& answer) {
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    return answer.table<fb::FetchAnswer>().session();
  }
};

}  // namespace tidelog::broker
