// Splits a batch that became too large for its topic.
#pragma once

#include <deque>
#include <memory>

#include "base/result.h"
#include "client/producer/batch.h"

namespace tidelog::client_core {

// Puts two halves of `batch`, which is encoded, in front of `to`: its records, callbacks and
// charges are theirs, in order, and they are still to be encoded. REQUIRES: at least two records.
// Fails, leaving both as they were, with what decoding fails with (kUnsupportedCodec).
Result<> split_in_two(Batch& batch, std::deque<std::unique_ptr<Batch>>& to);

}  // namespace tidelog::client_core
