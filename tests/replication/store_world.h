// What a metadata store needs around it, and how a test waits for its answers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replication/local_store.h"
#include "replication/metadata_store.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::replication {

// A put or a deletion, in words.
inline Operation put(std::string key, std::string value, LeaseId lease = 0) {
  return {std::move(key), std::move(value), lease};
}
inline Operation erase(std::string key) { return {std::move(key), std::nullopt, 0}; }

// Starts an operation by `start(callback)`, runs the executor until it answers, gives the answer.
template <typename T, typename Start>
Result<T> answer_of(sim::SimExecutor& executor, Start start) {
  std::optional<Result<T>> answer;
  start([&answer](Result<T> result) { answer = std::move(result); });
  if (!executor.run_until([&answer] { return answer.has_value(); })) {
    return fail(ErrorCode::kTimedOut, "no answer within a minute of virtual time");
  }
  return std::move(*answer);
}

inline Result<TransactionResult> commit(sim::SimExecutor& executor, MetadataStore& store,
                                        Transaction transaction) {
  return answer_of<TransactionResult>(
      executor, [&](auto done) { store.commit(std::move(transaction), std::move(done)); });
}
inline Result<std::optional<KeyValue>> get(sim::SimExecutor& executor, MetadataStore& store,
                                           std::string key) {
  return answer_of<std::optional<KeyValue>>(
      executor, [&](auto done) { store.get(std::move(key), std::move(done)); });
}
inline Result<MetadataStore::Listing> list(sim::SimExecutor& executor, MetadataStore& store,
                                           std::string prefix, Revision from = 0) {
  return answer_of<MetadataStore::Listing>(
      executor, [&](auto done) { store.list(std::move(prefix), from, std::move(done)); });
}

// The value of a key, "" where there is none.
inline std::string value_of(sim::SimExecutor& executor, MetadataStore& store, std::string key) {
  const auto found = get(executor, store, std::move(key));
  return found && found->has_value() ? (*found)->value : "";
}

// Ids 1, 2, 3, ... Each run of a simulation needs its own; a copy goes on by itself.
inline std::function<std::uint64_t()> counting_ids() {
  return [next = std::uint64_t{0}]() mutable { return ++next; };
}

}  // namespace tidelog::replication
