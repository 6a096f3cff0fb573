#include "replication/settled_commit.h"

#include <gtest/gtest.h>

#include "replication/metadata_records.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_metadata_store.h"

namespace tidelog::replication {
namespace {

class SettledCommitTest : public testing::Test {
 protected:
  static std::string value(const std::string& nonce) {
    return encode(NameRecord{TopicId{}, nonce});
  }
  Result<TransactionResult> settle(Transaction transaction) {
    return answer_of<TransactionResult>(executor_, [&](auto done) {
      commit_settled(store_, executor_, owner_, std::move(transaction), std::move(done));
    });
  }
  std::string nonce_at(const std::string& key) {
    return nonce_of(value_of(executor_, store_, key));
  }

  sim::SimExecutor executor_;
  sim::SimMetadata service_{executor_};
  sim::SimMetadataStore store_{service_, executor_};
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);
};

TEST_F(SettledCommitTest, FindsThatALostAnswerWasASuccess) {
  store_.lose_next_answer(/*applied=*/true);
  const auto result = settle({{{"a", 0}}, {put("a", value("mine"))}});
  ASSERT_TRUE(result && result->succeeded);
  EXPECT_EQ(result->revision, 1u);
  EXPECT_EQ(service_.revision(), 1u) << "it was applied once";
}

TEST_F(SettledCommitTest, CommitsAgainWhatWasNotApplied) {
  store_.lose_next_answer(/*applied=*/false);
  const auto result = settle({{{"a", 0}}, {put("a", value("mine"))}});
  ASSERT_TRUE(result && result->succeeded);
  EXPECT_EQ(nonce_at("a"), "mine");
}

TEST_F(SettledCommitTest, SeesThatSomebodyElseWasFaster) {
  ASSERT_TRUE(commit(executor_, store_, {{}, {put("a", value("theirs"))}}));
  store_.lose_next_answer(/*applied=*/false);
  const auto result = settle({{{"a", 0}}, {put("a", value("mine"))}});
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->succeeded);
  EXPECT_EQ(nonce_at("a"), "theirs");
}

TEST_F(SettledCommitTest, SettlesDeletions) {
  ASSERT_TRUE(commit(executor_, store_, {{}, {put("a", value("x"))}}));
  store_.lose_next_answer(/*applied=*/true);
  const auto result = settle({{{"a", 1}}, {erase("a")}});
  ASSERT_TRUE(result && result->succeeded);
  EXPECT_EQ(service_.revision(), 2u);
}

TEST_F(SettledCommitTest, SaysNothingOnceItsOwnerIsGone) {
  store_.lose_next_answer(/*applied=*/false);
  bool answered = false;
  commit_settled(store_, executor_, owner_, {{{"a", 0}}, {put("a", value("mine"))}},
                 [&answered](Result<TransactionResult>) { answered = true; });
  owner_.reset();
  executor_.run_for(std::chrono::minutes(1));
  EXPECT_FALSE(answered);
  EXPECT_EQ(service_.revision(), 0u);
}

}  // namespace
}  // namespace tidelog::replication
