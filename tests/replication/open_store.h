// A local metadata store on a simulated disk, opened and ready for questions.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "replication/local_store.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::replication {

// A store on a disk that the test holds.
struct OpenStore {
  explicit OpenStore(sim::SimDisk& disk, std::uint64_t snapshot_log_bytes_min = 1 << 20,
                     std::function<std::uint64_t()> ids = random_ids()) {
    auto result = LocalStore::open(disk, executor, executor,
                                   {.path = "/data/metadata",
                                    .snapshot_log_bytes_min = snapshot_log_bytes_min,
                                    .random_id = std::move(ids)});
    if (result) {
      store = std::move(*result);
    } else {
      error = result.error();
    }
  }

  // Unlike counting_ids(): stores opened one after the other on one disk get distinct ids.
  static std::function<std::uint64_t()> random_ids() {
    return [] {
      static std::uint64_t last = 1'000'000;  // beyond what counting_ids() reaches
      return ++last;
    };
  }

  Result<TransactionResult> commit(std::vector<Operation> operations) {
    return replication::commit(executor, *store, {{}, std::move(operations)});
  }
  std::string value(const std::string& key) { return value_of(executor, *store, key); }
  Result<> close() {
    return answer_of<void>(executor, [this](auto done) { store->close(std::move(done)); });
  }

  sim::SimExecutor executor;
  std::unique_ptr<LocalStore> store;
  std::optional<Error> error;
};

// The file of the transactions on `disk`.
inline std::string log_file(const sim::SimDisk& disk) {
  for (const std::string& file : disk.files()) {
    if (file.find("/log-") != std::string::npos) return file;
  }
  ADD_FAILURE() << "there is no log";
  return "";
}

// How far records reach in that file; behind them space is reserved.
inline std::size_t records_end(const sim::SimDisk& disk) {
  const std::vector<std::byte> bytes = disk.contents(log_file(disk));
  std::size_t end = bytes.size();
  while (end > 0 && bytes[end - 1] == std::byte{0}) --end;
  return align_up(end, 4096);
}

}  // namespace tidelog::replication
