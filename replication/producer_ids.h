// Gives out producer ids, each once in the life of a cluster: brokers take blocks of them from the
// metadata store by compare-and-swap (R15). What is left of a block when a broker ends is never
// given to anybody.
//
// Thread: the executor's, which is the store's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/executor.h"
#include "base/ids.h"
#include "base/result.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

class ProducerIds {
 public:
  static constexpr std::int64_t kBlock = 1000;

  // `random` makes nonces; null: random_id(). Store and executor outlive this.
  ProducerIds(MetadataStore& store, Executor& executor,
              std::function<std::uint64_t()> random = nullptr);
  // Callbacks that did not run yet never do.
  ~ProducerIds();
  ProducerIds(const ProducerIds&) = delete;
  ProducerIds& operator=(const ProducerIds&) = delete;

  using Callback = std::move_only_function<void(Result<ProducerId>)>;
  // An id that was never given before. `done` runs later. Fails with kNotReady (the store did not
  // take the block: again later), kCorruptData, kStorageFailed.
  void allocate(Callback done);

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace tidelog::replication
