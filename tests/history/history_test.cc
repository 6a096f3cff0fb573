// The checker finds every kind of fault that is planted, and nothing in histories without one.
#include "tests/history/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidelog::history {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HistoryTest : public testing::Test {
 protected:
  // Records a, b, c of one producer, acknowledged at 0, 1, 2, and read by one consumer.
  void run_sound_history() {
    for (const char* value : {"a", "b", "c"}) send(value);
    acknowledge(0, "a");
    acknowledge(1, "b");
    acknowledge(2, "c");
    checker_.assign("reader", "p", 0);
    checker_.polled("reader", "p", 0, "a");
    checker_.polled("reader", "p", 1, "b");
    checker_.polled("reader", "p", 2, "c");
    checker_.ended("p", 3);
  }
  void send(const std::string& value, const std::string& producer = "producer") {
    ASSERT_TRUE(checker_.send(producer, value));
  }
  void acknowledge(std::int64_t offset, const std::string& value) {
    ASSERT_TRUE(checker_.acknowledged("p", offset, value));
  }
  std::vector<Anomaly> anomalies() const {
    std::vector<Anomaly> all;
    for (const Complaint& complaint : checker_.complaints()) all.push_back(complaint.anomaly);
    return all;
  }

  Checker checker_;
};

TEST_F(HistoryTest, FindsNothingWrongWithASoundHistory) {
  run_sound_history();
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, TakesAcknowledgementsThatComeAfterThePolls) {
  send("a");
  checker_.polled("reader", "p", 0, "a");
  acknowledge(0, "a");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, LetsRecordsWithoutAnAnswerBeThereOrNot) {
  send("there");
  send("missing");
  checker_.polled("reader", "p", 0, "there");
  checker_.ended("p", 1);
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, FindsAWriteThatAReaderPassedBy) {
  for (const char* value : {"a", "b", "c"}) send(value);
  acknowledge(1, "b");
  checker_.assign("reader", "p", 0);
  checker_.polled("reader", "p", 0, "a");
  checker_.polled("reader", "p", 2, "c");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kLostWrite));
}

TEST_F(HistoryTest, FindsAWriteBehindTheEndThatAReaderSaw) {
  send("a");
  acknowledge(4, "a");
  checker_.ended("p", 4);
  EXPECT_FALSE(checker_.clean());
  EXPECT_EQ(anomalies().front(), Anomaly::kLostWrite);
}

TEST_F(HistoryTest, FindsARecordThatNobodyReadAsFar) {
  run_sound_history();
  send("d");
  acknowledge(3, "d");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kUnseenRecord));
}

TEST_F(HistoryTest, FindsARecordThatIsThereTwice) {
  run_sound_history();
  checker_.polled("reader", "p", 3, "b");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kDuplicate));
}

TEST_F(HistoryTest, FindsARecordInTwoPartitions) {
  run_sound_history();
  checker_.polled("reader", "q", 0, "b");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kDuplicate));
}

TEST_F(HistoryTest, FindsTwoRecordsAtOnePlace) {
  run_sound_history();
  send("d");
  checker_.assign("late", "p", 1);
  checker_.polled("late", "p", 1, "d");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kInconsistentOffsets));
}

TEST_F(HistoryTest, FindsARecordThatFailedAndIsThere) {
  send("a");
  ASSERT_TRUE(checker_.failed("a"));
  checker_.polled("reader", "p", 0, "a");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kAbortedRead));
}

TEST_F(HistoryTest, FindsARecordThatIsThereAndFailsLater) {
  run_sound_history();
  ASSERT_TRUE(checker_.failed("b"));
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kAbortedRead));
}

TEST_F(HistoryTest, LetsAFailedRecordBeSentAgain) {
  send("a");
  ASSERT_TRUE(checker_.failed("a"));
  send("a");
  acknowledge(0, "a");
  checker_.polled("reader", "p", 0, "a");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, FindsARecordThatNobodySent) {
  run_sound_history();
  checker_.polled("reader", "p", 3, "altered");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kNeverSent));
}

TEST_F(HistoryTest, FindsAConsumerThatGoesBack) {
  run_sound_history();
  checker_.polled("reader", "p", 1, "b");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kNonMonotonicPoll));
}

TEST_F(HistoryTest, LetsAConsumerBeMovedBack) {
  run_sound_history();
  checker_.assign("reader", "p", 1);
  checker_.polled("reader", "p", 1, "b");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, FindsAConsumerThatSkipsWhatOthersSaw) {
  run_sound_history();
  checker_.assign("hasty", "p", 0);
  checker_.polled("hasty", "p", 0, "a");
  checker_.polled("hasty", "p", 2, "c");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kSkippedPoll));
}

TEST_F(HistoryTest, LetsAConsumerPassOffsetsThatHoldNoRecord) {
  send("a");
  send("b");
  checker_.polled("reader", "p", 0, "a");
  checker_.polled("reader", "p", 5, "b");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, FindsRecordsInAnotherOrderThanTheyWereSent) {
  send("a");
  send("other", "another producer");
  send("b");
  checker_.polled("reader", "p", 0, "b");
  checker_.polled("reader", "p", 1, "other");
  checker_.polled("reader", "p", 2, "a");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kNonMonotonicSend));
}

TEST_F(HistoryTest, LetsProducersMix) {
  send("a", "one");
  send("b", "two");
  checker_.polled("reader", "p", 0, "b");
  checker_.polled("reader", "p", 1, "a");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, LetsTrimmedRecordsGo) {
  send("a");
  send("b");
  acknowledge(0, "a");
  acknowledge(1, "b");
  checker_.may_trim("p", 1);
  checker_.assign("reader", "p", 1);
  checker_.polled("reader", "p", 1, "b");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, LetsRecordsThatMayBeCutGoOrStay) {
  run_sound_history();
  checker_.may_cut("p", 1);
  checker_.ended("p", 1);
  EXPECT_THAT(anomalies(), IsEmpty());
  checker_.assign("reader", "p", 1);
  checker_.polled("reader", "p", 1, "b");
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, FindsARecordThatWasCutAndComesBack) {
  run_sound_history();
  checker_.may_cut("p", 1);
  checker_.cut("p", 1);
  checker_.ended("p", 1);
  EXPECT_THAT(anomalies(), IsEmpty());
  checker_.polled("reader", "p", 1, "b");
  EXPECT_THAT(anomalies(), ElementsAre(Anomaly::kAbortedRead));
}

TEST_F(HistoryTest, LetsOtherRecordsTakeThePlaceOfThoseThatWereCut) {
  run_sound_history();
  checker_.may_cut("p", 1);
  checker_.cut("p", 1);
  send("d");
  acknowledge(1, "d");
  checker_.polled("reader", "p", 1, "d");
  checker_.ended("p", 2);
  EXPECT_THAT(anomalies(), IsEmpty());
}

TEST_F(HistoryTest, StillRequiresWhatIsAcknowledgedAfterACut) {
  run_sound_history();
  checker_.may_cut("p", 1);
  checker_.cut("p", 1);
  send("d");
  acknowledge(1, "d");
  checker_.ended("p", 1);
  EXPECT_EQ(anomalies().front(), Anomaly::kLostWrite);
}

TEST_F(HistoryTest, RefusesHistoriesThatProducersCannotHave) {
  send("a");
  EXPECT_FALSE(checker_.send("producer", "a"));
  EXPECT_FALSE(checker_.acknowledged("p", 0, "b"));
  EXPECT_FALSE(checker_.failed("c"));
}

TEST_F(HistoryTest, NamesRecordPlaceAndKind) {
  send("a");
  acknowledge(4, "a");
  checker_.ended("p", 2);
  EXPECT_EQ(checker_.complaints().front().to_string(),
            "lost write: 'a' was acknowledged at p offset 4, the log ends at 2");
}

}  // namespace
}  // namespace tidelog::history
