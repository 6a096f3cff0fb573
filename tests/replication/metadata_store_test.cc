// What every metadata store promises, run over each implementation.
#include "replication/metadata_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "log/io/system_file_system.h"
#include "replication/local_store.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_metadata_store.h"

namespace tidelog::replication {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// One kind of store with all it needs.
class World {
 public:
  virtual ~World() = default;
  virtual MetadataStore& store() = 0;
  sim::SimExecutor executor;
};

class LocalOnSimDisk final : public World {
 public:
  LocalOnSimDisk() {
    auto opened = LocalStore::open(disk_, executor, executor,
                                   {.path = "/data/metadata", .random_id = counting_ids()});
    if (!opened) std::abort();
    store_ = std::move(*opened);
  }
  MetadataStore& store() override { return *store_; }

 private:
  sim::SimDisk disk_;
  std::unique_ptr<LocalStore> store_;
};

class LocalOnMachine final : public World {
 public:
  LocalOnMachine() {
    std::string name = testing::TempDir() + "/tidelog-store-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
    auto opened = LocalStore::open(files_, executor, executor, {.path = directory_ + "/metadata"});
    if (!opened) std::abort();
    store_ = std::move(*opened);
  }
  ~LocalOnMachine() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  MetadataStore& store() override { return *store_; }

 private:
  std::string directory_;
  log::io::SystemFileSystem files_{/*direct_io=*/false};
  std::unique_ptr<LocalStore> store_;
};

class InMemory final : public World {
 public:
  MetadataStore& store() override { return store_; }

 private:
  sim::SimMetadata service_{executor};
  sim::SimMetadataStore store_{service_, executor};
};

struct Kind {
  const char* name;
  std::unique_ptr<World> (*make)();
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

template <typename T>
std::unique_ptr<World> make() {
  return std::make_unique<T>();
}

class MetadataStoreTest : public testing::TestWithParam<Kind> {
 protected:
  MetadataStoreTest() : world_(GetParam().make()) {}

  MetadataStore& store() { return world_->store(); }
  sim::SimExecutor& executor() { return world_->executor; }

  Result<TransactionResult> commit(Transaction transaction) {
    return replication::commit(executor(), store(), std::move(transaction));
  }
  Result<TransactionResult> commit(std::vector<Operation> operations) {
    return commit(Transaction{{}, std::move(operations)});
  }
  std::optional<KeyValue> get(const std::string& key) {
    auto found = replication::get(executor(), store(), key);
    EXPECT_TRUE(found.has_value());
    return found ? *found : std::nullopt;
  }
  std::vector<std::string> keys(const std::string& prefix, Revision from = 0) {
    std::vector<std::string> names;
    const auto listing = replication::list(executor(), store(), prefix, from);
    EXPECT_TRUE(listing.has_value());
    if (listing) {
      for (const KeyValue& entry : listing->entries) names.push_back(entry.key);
    }
    return names;
  }
  Revision revision() { return replication::list(executor(), store(), "")->revision; }
  LeaseId grant(milliseconds ttl) {
    const auto lease = answer_of<LeaseId>(
        executor(), [&](auto done) { store().grant_lease(ttl, std::move(done)); });
    EXPECT_TRUE(lease.has_value());
    return lease.value_or(0);
  }
  Result<> renew(LeaseId lease) {
    return answer_of<void>(executor(),
                           [&](auto done) { store().renew_lease(lease, std::move(done)); });
  }
  Result<> revoke(LeaseId lease) {
    return answer_of<void>(executor(),
                           [&](auto done) { store().revoke_lease(lease, std::move(done)); });
  }

  std::unique_ptr<World> world_;
};

TEST_P(MetadataStoreTest, StartsEmptyAtRevisionZero) {
  EXPECT_EQ(revision(), 0u);
  EXPECT_THAT(keys(""), IsEmpty());
  EXPECT_EQ(get("a"), std::nullopt);
}

TEST_P(MetadataStoreTest, GivesBackWhatWasPutWithItsRevisions) {
  ASSERT_EQ(commit({put("a", "1")})->revision, 1u);
  ASSERT_EQ(commit({put("a", "2"), put("b", std::string("\0x", 2))})->revision, 2u);
  const auto a = get("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->value, "2");
  EXPECT_EQ(a->create_revision, 1u);
  EXPECT_EQ(a->mod_revision, 2u);
  const auto b = get("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->value, std::string("\0x", 2));
  EXPECT_EQ(b->create_revision, 2u);
}

TEST_P(MetadataStoreTest, AKeyThatIsMadeAgainHasANewCreateRevision) {
  ASSERT_TRUE(commit({put("a", "1")}));
  ASSERT_EQ(commit({erase("a")})->revision, 2u);
  EXPECT_EQ(get("a"), std::nullopt);
  ASSERT_TRUE(commit({put("a", "2")}));
  EXPECT_EQ(get("a")->create_revision, 3u);
}

TEST_P(MetadataStoreTest, AppliesNothingWhenOneCompareFails) {
  ASSERT_TRUE(commit({put("a", "1")}));
  const auto result =
      commit(Transaction{{{"a", 1}, {"b", 7}}, {put("a", "changed"), put("c", "new"), erase("a")}});
  EXPECT_FALSE(result.has_value());  // it changes a twice
  const auto refused =
      commit(Transaction{{{"a", 1}, {"b", 7}}, {put("a", "changed"), put("c", "new")}});
  ASSERT_TRUE(refused.has_value());
  EXPECT_FALSE(refused->succeeded);
  EXPECT_EQ(refused->revision, 1u);
  EXPECT_EQ(get("a")->value, "1");
  EXPECT_EQ(get("c"), std::nullopt);
}

TEST_P(MetadataStoreTest, ComparesAgainstPresenceAndAbsence) {
  EXPECT_TRUE(commit(Transaction{{{"a", 0}}, {put("a", "1")}})->succeeded);
  EXPECT_FALSE(commit(Transaction{{{"a", 0}}, {put("a", "2")}})->succeeded);
  EXPECT_TRUE(commit(Transaction{{{"a", 1}}, {put("a", "3")}})->succeeded);
  EXPECT_FALSE(commit(Transaction{{{"a", 1}}, {put("a", "4")}})->succeeded);
  EXPECT_EQ(get("a")->value, "3");
}

TEST_P(MetadataStoreTest, JudgesTransactionsSentTogetherOneAfterTheOther) {
  std::vector<bool> succeeded;
  for (int i = 0; i < 3; ++i) {
    store().commit({{{"a", 0}}, {put("a", std::to_string(i))}},
                   [&succeeded](Result<TransactionResult> result) {
                     ASSERT_TRUE(result.has_value());
                     succeeded.push_back(result->succeeded);
                   });
  }
  executor().run_until([&succeeded] { return succeeded.size() == 3; });
  EXPECT_THAT(succeeded, ElementsAre(true, false, false));
  EXPECT_EQ(get("a")->value, "0");
}

TEST_P(MetadataStoreTest, AnswersTransactionsSentTogetherInTheOrderOfTheirRevisions) {
  std::vector<Revision> revisions;
  for (int i = 0; i < 200; ++i) {
    store().commit({{}, {put("k" + std::to_string(i), "v")}},
                   [&revisions](Result<TransactionResult> result) {
                     ASSERT_TRUE(result.has_value());
                     revisions.push_back(result->revision);
                   });
  }
  executor().run_until([&revisions] { return revisions.size() == 200; });
  ASSERT_EQ(revisions.size(), 200u);
  EXPECT_TRUE(std::ranges::is_sorted(revisions));
  EXPECT_EQ(revisions.back(), 200u);
}

TEST_P(MetadataStoreTest, CountsOnlyTransactionsThatChangeSomething) {
  ASSERT_TRUE(commit({put("a", "1")}));
  EXPECT_EQ(commit({erase("no such key")})->revision, 1u);
  EXPECT_EQ(commit(Transaction{{{"a", 1}}, {}})->revision, 1u);
  EXPECT_TRUE(commit(Transaction{{{"a", 1}}, {}})->succeeded);
  EXPECT_EQ(commit({put("a", "1")})->revision, 2u);  // the same value is a change
}

TEST_P(MetadataStoreTest, RefusesTransactionsBeyondTheLimits) {
  const auto refusal = [this](Transaction transaction) {
    const auto result = commit(std::move(transaction));
    return result ? ErrorCode::kOk : result.error().code();
  };
  Transaction many;
  for (std::size_t i = 0; i < kOperationsPerTransactionMax; ++i) {
    many.operations.push_back(put("k" + std::to_string(i), ""));
  }
  EXPECT_EQ(refusal(many), ErrorCode::kOk);
  many.operations.push_back(put("one more", ""));
  EXPECT_EQ(refusal(many), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal({{}, {put("", "v")}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal({{}, {put(std::string(kMetadataKeyBytesMax + 1, 'k'), "v")}}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal({{}, {put("k", std::string(kTransactionBytesMax, 'v'))}}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal({{}, {put("k", "1"), erase("k")}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(revision(), 1u);
}

TEST_P(MetadataStoreTest, ListsAPrefixSortedAndSinceARevision) {
  ASSERT_TRUE(commit({put("/p/b", ""), put("/p/a", ""), put("/q", ""), put("/o", "")}));
  ASSERT_TRUE(commit({put("/p/c", ""), put("/p/a", "new")}));
  EXPECT_THAT(keys("/p/"), ElementsAre("/p/a", "/p/b", "/p/c"));
  EXPECT_THAT(keys("/p/", 2), ElementsAre("/p/a", "/p/c"));
  EXPECT_THAT(keys("/p/", 3), IsEmpty());
  EXPECT_THAT(keys(""), ElementsAre("/o", "/p/a", "/p/b", "/p/c", "/q"));
}

TEST_P(MetadataStoreTest, DeletesTheKeysOfALeaseThatEnds) {
  const LeaseId lease = grant(milliseconds(3000));
  ASSERT_TRUE(commit({put("leased", "1", lease), put("free", "1")}));
  executor().run_for(milliseconds(2900));
  EXPECT_TRUE(get("leased"));
  executor().run_for(milliseconds(200));
  EXPECT_EQ(get("leased"), std::nullopt);
  EXPECT_TRUE(get("free"));
  EXPECT_EQ(revision(), 2u);
  EXPECT_EQ(renew(lease).error().code(), ErrorCode::kNotFound);
}

TEST_P(MetadataStoreTest, KeepsTheKeysOfALeaseThatIsRenewed) {
  const LeaseId lease = grant(milliseconds(3000));
  ASSERT_TRUE(commit({put("leased", "1", lease)}));
  for (int i = 0; i < 5; ++i) {
    executor().run_for(milliseconds(2000));
    ASSERT_TRUE(renew(lease));
  }
  EXPECT_TRUE(get("leased"));
}

TEST_P(MetadataStoreTest, DeletesTheKeysOfALeaseThatIsRevoked) {
  const LeaseId lease = grant(milliseconds(3000));
  const LeaseId other = grant(milliseconds(3000));
  ASSERT_TRUE(commit({put("mine", "1", lease), put("theirs", "1", other)}));
  ASSERT_TRUE(revoke(lease));
  EXPECT_EQ(get("mine"), std::nullopt);
  EXPECT_TRUE(get("theirs"));
  EXPECT_EQ(revoke(lease).error().code(), ErrorCode::kNotFound);
}

TEST_P(MetadataStoreTest, APutWithoutLeaseTakesTheKeyOutOfIt) {
  const LeaseId lease = grant(milliseconds(3000));
  ASSERT_TRUE(commit({put("a", "1", lease)}));
  ASSERT_TRUE(commit({put("a", "2")}));
  ASSERT_TRUE(revoke(lease));
  EXPECT_EQ(get("a")->value, "2");
}

TEST_P(MetadataStoreTest, RefusesAPutWithALeaseThatHasEnded) {
  const LeaseId lease = grant(milliseconds(3000));
  ASSERT_TRUE(revoke(lease));
  const auto result = commit({put("a", "1", lease), put("b", "1")});
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(get("b"), std::nullopt);
}

TEST_P(MetadataStoreTest, TellsWatchersOfChangesBelowTheirPrefix) {
  std::vector<std::string> seen;
  const auto watch = store().watch("/p/", 0, [&seen](const std::vector<WatchEvent>& events) {
    for (const WatchEvent& event : events) {
      seen.push_back((event.deleted ? "-" : "+") + event.entry.key + "@" +
                     std::to_string(event.entry.mod_revision));
    }
  });
  ASSERT_TRUE(commit({put("/p/a", ""), put("/q", "")}));
  ASSERT_TRUE(commit({put("/q", "")}));
  ASSERT_TRUE(commit({erase("/p/a"), put("/p/b", "")}));
  executor().run_until_idle();
  EXPECT_THAT(seen, ElementsAre("+/p/a@1", "-/p/a@3", "+/p/b@3"));

  store().cancel_watch(watch);
  ASSERT_TRUE(commit({put("/p/c", "")}));
  executor().run_until_idle();
  EXPECT_EQ(seen.size(), 3u);
}

TEST_P(MetadataStoreTest, TellsAWatcherWhatChangedSinceItsRevision) {
  ASSERT_TRUE(commit({put("old", "")}));
  ASSERT_TRUE(commit({put("new", "")}));
  std::vector<std::string> seen;
  store().watch("", 2, [&seen](const std::vector<WatchEvent>& events) {
    for (const WatchEvent& event : events) seen.push_back(event.entry.key);
  });
  executor().run_until_idle();
  EXPECT_THAT(seen, ElementsAre("new"));
  ASSERT_TRUE(commit({put("newer", "")}));
  executor().run_until_idle();
  EXPECT_THAT(seen, ElementsAre("new", "newer"));
}

TEST_P(MetadataStoreTest, TellsWatchersOfTheEndOfALease) {
  const LeaseId lease = grant(milliseconds(3000));
  ASSERT_TRUE(commit({put("leased", "", lease)}));
  std::vector<std::string> gone;
  store().watch("", 2, [&gone](const std::vector<WatchEvent>& events) {
    for (const WatchEvent& event : events) {
      if (event.deleted) gone.push_back(event.entry.key);
    }
  });
  executor().run_for(std::chrono::seconds(4));
  EXPECT_THAT(gone, ElementsAre("leased"));
}

TEST_P(MetadataStoreTest, NeverAnswersInsideTheCall) {
  bool inside = true;
  int answers = 0;
  const auto answered = [&](auto&&) {
    EXPECT_FALSE(inside);
    ++answers;
  };
  store().get("a", answered);
  store().list("", 0, answered);
  store().commit({{}, {put("a", "1")}}, answered);
  store().commit({{}, {put("", "1")}}, answered);
  store().grant_lease(milliseconds(0), answered);
  store().renew_lease(77, answered);
  store().revoke_lease(77, answered);
  inside = false;
  executor().run_until([&answers] { return answers == 7; });
  EXPECT_EQ(answers, 7);
}

INSTANTIATE_TEST_SUITE_P(Stores, MetadataStoreTest,
                         testing::Values(Kind{"LocalOnSimDisk", make<LocalOnSimDisk>},
                                         Kind{"LocalOnMachine", make<LocalOnMachine>},
                                         Kind{"InMemory", make<InMemory>}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace tidelog::replication
