// The making and the removal of a shard's logs: what of it waits for a change of the catalog goes
// together into the next one.
//
// Removal, in the order that crashes rely on: the log is at rest; the catalog says that it goes;
// checkpoints and the journal, which kept it until then, forget it; its files go, one log after the
// other, where nothing else waits for them; that is made stable, for all logs of a round at once;
// the catalog forgets it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "log/catalog.h"
#include "log/log_store.h"
#include "log/partition_directories.h"
#include "log/partition_log_impl.h"
#include "log/shard_context.h"

namespace tidelog::log {

// Thread: the shard's. Callbacks run as ShardLogs says.
class LogChanges {
 public:
  using Logs = std::unordered_map<TopicPartition, std::shared_ptr<PartitionLogImpl>>;
  // All outlive it; it adds to `logs` and takes from it.
  LogChanges(ShardContext& context, PartitionDirectories& directories, Catalog& catalog, Logs& logs)
      : context_(context), directories_(directories), catalog_(catalog), logs_(logs) {}

  void create(const TopicPartition& id, const PartitionLogSettings& settings,
              ShardLogs::CreateCallback done);
  void remove(const TopicPartition& id, ShardLogs::DoneCallback done);

  // Does what may be done next; answers what waits when the directory failed or the shard gave up.
  void proceed();
  // The removal of files stops before the next one; the next start does the rest.
  void stop_removing() { removal_stop_.request_stop(); }

  // True while the catalog is changed or files are removed.
  bool under_way() const { return changing_catalog_ || removing_; }
  // True while a log that was removed has files.
  bool any_leaving() const { return !leaving_.empty(); }
  // Those that are to be removed and that the catalog does not say so of yet: a crash may bring
  // them back.
  const std::vector<std::shared_ptr<PartitionLogImpl>>& retiring() const { return retiring_; }

 private:
  struct Creation {
    TopicPartition id;
    PartitionLogSettings settings;
    ShardLogs::CreateCallback done;
  };
  struct Removal {
    TopicPartition id;
    std::shared_ptr<PartitionLogImpl> log;  // null: released
    ShardLogs::DoneCallback done;
  };
  struct RemovalRound {
    std::vector<Removal> removals;
    std::size_t unreleased = 0;
    std::size_t gone = 0;  // so many, the first ones: their files are not there any more
  };
  using RemovalRoundPtr = std::shared_ptr<RemovalRound>;

  void refuse_changes(const Error& error);
  void create_all();
  void finish_creation(Creation creation, const Result<std::uint32_t>& incarnation);
  void remove_all();
  void release(const RemovalRoundPtr& round);
  void remove_files(const RemovalRoundPtr& round);
  void settle_removals(const RemovalRoundPtr& round, const Result<>& result);
  void strike_out(const RemovalRoundPtr& round, const Result<>& result);
  void end_removals(const RemovalRoundPtr& round, const Result<>& result);
  void apply_to_catalog(std::vector<Catalog::Change> changes,
                        std::move_only_function<void(Result<>)> then);
  void remove_later(std::vector<Removal> removals);

  ShardContext& context_;
  PartitionDirectories& directories_;
  Catalog& catalog_;
  Logs& logs_;
  std::vector<Creation> creations_;        // wait for the next change of the catalog
  std::vector<Removal> removals_;          // at rest, wait for it too
  std::map<TopicPartition, int> leaving_;  // removed, files not gone yet
  std::vector<std::shared_ptr<PartitionLogImpl>> retiring_;  // of those, not marked yet
  bool removals_wait_ = false;                               // for space
  bool changing_catalog_ = false;
  bool removing_ = false;          // files, or about to
  std::stop_source removal_stop_;  // requested when closing
};

}  // namespace tidelog::log
