// Without a file descriptor to sync a directory by, what needs it waits and is tried again: that is
// no failed sync, and the directory goes on.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/log/log_fixture.h"
#include "tests/log/passing_disk.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

// Finds no descriptor for the directories whose path contains `what`, as often as `times` says.
class ShortDisk final : public PassingDisk {
 public:
  using PassingDisk::PassingDisk;
  std::string what;
  int times = 0;
  bool now_and_then = false;  // each fifth time, of all directories

  Result<> sync_directory(const std::string& path) override {
    const bool now = now_and_then ? calls_++ % 5 == 0 : path.contains(what) && times > 0;
    if (!now) return PassingDisk::sync_directory(path);
    --times;
    return fail(ErrorCode::kOverloaded, "open directory '" + path + "': too many open files");
  }

 private:
  int calls_ = 0;
};

class DescriptorShortageTest : public LogFixture {
 protected:
  void start_short() {
    harness_.reset();
    short_ = std::make_unique<ShortDisk>(*disk_);
    HarnessOptions options = one_shard();
    options.files = short_.get();
    options.store.shard.checkpoint_interval = std::chrono::seconds(1);
    start(options);
  }
  void expect_all_there() {
    EXPECT_FALSE(harness_->store().failure());
    EXPECT_EQ(compare(*harness_, ledger_), "");
    crash(sim::CrashPolicy::nothing());
    start();
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }

  std::unique_ptr<ShortDisk> short_;
};

TEST_F(DescriptorShortageTest, NoSyncOfADirectoryFailsTheLogs) {
  start_short();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  short_->now_and_then = true;
  append_durably(kId, 60, 3000);  // over segments, and round the ring
  append_durably(kOther, 3);
  harness_->pass(milliseconds(2500));
  ASSERT_TRUE(harness_->truncate(kId, Offset(40)));
  append_durably(kId, 30, 3000, LeaderEpoch(2));
  ASSERT_TRUE(harness_->trim(kId, Offset(35)));  // segments go
  ASSERT_TRUE(harness_->remove(kOther));
  harness_->pass(milliseconds(2500));
  expect_all_there();
}

TEST_F(DescriptorShortageTest, ACheckpointWhoseNameIsNotStableIsNotTakenForStable) {
  start_short();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  ASSERT_FALSE(*disk_->exists("data/checkpoint.1"));
  // The first one that this life makes has a new name.
  short_->what = "data";
  short_->times = 1;
  harness_->pass(milliseconds(3500));
  ASSERT_EQ(short_->times, 0);
  crash(sim::CrashPolicy::nothing());
  EXPECT_TRUE(*disk_->exists("data/checkpoint.1"));
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

}  // namespace
}  // namespace tidelog::log
