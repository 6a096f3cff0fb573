#include "replication/metadata_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace tidelog::replication {

Result<> check_transaction(const Transaction& transaction) {
  if (transaction.operations.size() > kOperationsPerTransactionMax ||
      transaction.compares.size() > kOperationsPerTransactionMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a metadata transaction has {} operations and {} compares; {} of each "
                            "are the limit",
                            transaction.operations.size(), transaction.compares.size(),
                            kOperationsPerTransactionMax));
  }
  std::size_t bytes = 0;
  std::vector<std::string_view> keys;
  for (const Compare& compare : transaction.compares) bytes += compare.key.size();
  for (const Operation& operation : transaction.operations) {
    bytes += operation.key.size() + (operation.value ? operation.value->size() : 0);
    if (operation.key.empty() || operation.key.size() > kMetadataKeyBytesMax) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("a metadata key has {} bytes; 1 to {} are allowed",
                              operation.key.size(), kMetadataKeyBytesMax));
    }
    keys.push_back(operation.key);
  }
  if (bytes > kTransactionBytesMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a metadata transaction has {} bytes; {} are the limit", bytes,
                            kTransactionBytesMax));
  }
  std::ranges::sort(keys);
  if (const auto twice = std::ranges::adjacent_find(keys); twice != keys.end()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a metadata transaction changes key {} twice", *twice));
  }
  return {};
}

}  // namespace tidelog::replication
