// What the client knows of the cluster: topics by name, their ids and leaders. Refreshed on demand,
// and once it is old, since nobody tells of what is added; however many ask at once, one request is
// under way.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "client/inquiry.h"

namespace tidelog::client_core {

struct Topic {
  std::string name;
  std::optional<Error> error;  // set: nothing else is; such as kUnknownTopic
  TopicId id;
  std::vector<PartitionLeader> partitions;
  std::size_t batch_bytes_max = 0;
  std::uint64_t as_of = 0;  // the answer it came with, see ClusterMetadata::answers()
};

class ClusterMetadata {
 public:
  struct Options {
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds backoff_min{50};
    std::chrono::milliseconds backoff_max{2000};
    std::chrono::milliseconds age_max = std::chrono::minutes(5);
  };
  // `executor` and `pool` must outlive this.
  ClusterMetadata(Executor& executor, BrokerPool& pool, Options options, std::uint64_t seed);
  ~ClusterMetadata();
  ClusterMetadata(const ClusterMetadata&) = delete;
  ClusterMetadata& operator=(const ClusterMetadata&) = delete;

  // Called behind every answer.
  void on_update(std::function<void()> updated) { updated_ = std::move(updated); }

  // Keeps this topic up to date from now on; asks for it if it is not known. REQUIRES: `name` has 1
  // to kTopicNameBytesMax bytes, or brokers would refuse to speak of the others, too.
  void want(const std::string& name);
  // Keeps it no longer and forgets what was known.
  void forget(const std::string& name);
  // What the last answer said; null when none spoke of this topic yet. Valid until control returns
  // to the executor.
  const Topic* find(std::string_view name) const;

  // Asks again for all wanted topics, soon; repeated calls make one request, or as many as it takes
  // to name all.
  void refresh();
  // Asks again because something is missing (a leader, an address, a topic's partitions) that only
  // time can bring: after a wait that doubles with every answer that did not bring it. Does not
  // delay refresh().
  void refresh_patiently();
  // Answers so far; what was found wrong after one is settled by a later one.
  std::uint64_t answers() const { return answers_; }

  // Goes on with what waits for a connection. Call when the pool changed.
  void advance();

 private:
  // What to ask for next; nullopt: nothing is left of what was to be.
  std::optional<Table> next_page();
  Result<> take(const SharedBytes& table);
  void apply(MetadataAnswer answer);
  void arm_age_timer();

  Executor& executor_;
  BrokerPool& pool_;
  Inquiry inquiry_;
  std::function<void()> updated_;
  std::set<std::string, std::less<>> wanted_;
  std::map<std::string, Topic, std::less<>> topics_;
  bool due_ = false;     // all are to be asked for
  std::string after_;    // not empty: of those asked for, what is behind this name is still to come
  bool is_cut_ = false;  // the request under way names less than that
  bool untaken_ = false;  // what was asked for last has not come
  Backoff patience_;
  bool missing_ = false;  // refresh_patiently() was called since the last answer
  TimerId patience_timer_ = 0;
  const std::chrono::milliseconds age_max_;
  TimerId age_timer_ = 0;  // from an answer to when it is old
  std::uint64_t answers_ = 0;
  std::uint64_t reshardings_seen_ = 0;  // of the pool
};

}  // namespace tidelog::client_core
