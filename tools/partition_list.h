// Lists of partitions as people write them: "0", "0,2,5", "0-3,7".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidelog::tools {

// Ascending, each once. Fails with kInvalidArgument.
Result<std::vector<std::int32_t>> parse_partitions(std::string_view text);

}  // namespace tidelog::tools
