// What options say of a producer.
#pragma once

#include <string>

#include "base/result.h"
#include "tidelog/tidelog.h"

namespace tidelog::tools {

// CODEC or CODEC:LEVEL, such as zstd:9. Fails with kInvalidArgument, naming what there is.
Result<> parse_compression(const std::string& text, client::ProducerOptions& options);

// "all", "leader" or "none"; -1, 1 and 0 mean the same. Fails with kInvalidArgument.
Result<client::Acks> parse_acks(const std::string& name);

}  // namespace tidelog::tools
