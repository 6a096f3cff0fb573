#include "replication/producer_ids.h"

#include <fmt/format.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "base/random.h"
#include "replication/metadata_records.h"
#include "replication/settled_commit.h"

namespace tidelog::replication {
namespace {
// Blocks that other brokers may take before this one gives up for now.
constexpr int kConflictsMax = 20;
}  // namespace

class ProducerIds::State : public std::enable_shared_from_this<State> {
 public:
  State(MetadataStore& store, Executor& executor, std::function<std::uint64_t()> random)
      : store_(store), executor_(executor), random_(std::move(random)) {}

  void allocate(Callback done) {
    waiting_.push_back(std::move(done));
    if (waiting_.size() > 1) return;  // a block is on its way
    executor_.post([weak = weak_from_this()] {
      if (const auto state = weak.lock()) state->serve();
    });
  }

 private:
  // Gives out what is left of the block, then gets another one.
  void serve() {
    while (!waiting_.empty() && next_ < end_) {
      Callback done = std::move(waiting_.front());
      const ProducerId id(next_++);
      // Before it leaves the queue: a callback that asks for another one must not begin this anew.
      done(id);
      waiting_.pop_front();
    }
    if (!waiting_.empty()) read();
  }

  void read() {
    store_.get(std::string(kProducerIdsKey),
               [weak = weak_from_this()](Result<std::optional<KeyValue>> found) {
                 if (const auto state = weak.lock()) state->take_block(std::move(found));
               });
  }

  void take_block(Result<std::optional<KeyValue>> found) {
    if (!found) return give_up(found.error());
    ProducerIdsRecord record;
    Revision revision = 0;
    if (const auto& entry = *found) {
      auto decoded = decode_producer_ids(entry->key, entry->value);
      if (!decoded) return give_up(decoded.error());
      record = std::move(*decoded);
      revision = entry->mod_revision;
    }
    const std::int64_t first = record.next;
    record.next += kBlock;
    record.nonce = fmt::format("{:016x}", random_());
    const std::string key(kProducerIdsKey);
    commit_settled(store_, executor_, weak_from_this(),
                   {.compares = {{key, revision}}, .operations = {{key, encode(record), 0}}},
                   [this, first](Result<TransactionResult> result) {
                     if (!result) return give_up(result.error());
                     if (!result->succeeded) {
                       if (++conflicts_ < kConflictsMax) return read();
                       return give_up(Error(ErrorCode::kConflict, "other brokers take all blocks"));
                     }
                     conflicts_ = 0;
                     next_ = first;
                     end_ = first + kBlock;
                     serve();
                   });
  }

  void give_up(const Error& error) {
    conflicts_ = 0;
    const bool lasting =
        error.code() == ErrorCode::kCorruptData || error.code() == ErrorCode::kStorageFailed;
    const Error told(lasting ? error.code() : ErrorCode::kNotReady,
                     fmt::format("no producer id could be taken: {}", error.message()));
    for (auto waiting = std::exchange(waiting_, {}); !waiting.empty(); waiting.pop_front()) {
      waiting.front()(fail(told));
    }
  }

  MetadataStore& store_;
  Executor& executor_;
  const std::function<std::uint64_t()> random_;
  std::deque<Callback> waiting_;
  std::int64_t next_ = 0;
  std::int64_t end_ = 0;
  int conflicts_ = 0;
};

ProducerIds::ProducerIds(MetadataStore& store, Executor& executor,
                         std::function<std::uint64_t()> random)
    : state_(std::make_shared<State>(store, executor, random ? std::move(random) : random_id)) {}

ProducerIds::~ProducerIds() = default;

void ProducerIds::allocate(Callback done) { state_->allocate(std::move(done)); }

}  // namespace tidelog::replication
