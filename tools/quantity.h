// Amounts as a person reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidelog::tools {

// "1,234,567".
std::string with_commas(std::uint64_t number);
// "1 record", "1,234 records".
std::string counted(std::uint64_t number, std::string_view singular);
// "512 B", "1.5 KiB", "3.0 GiB".
std::string byte_amount(std::uint64_t bytes);

}  // namespace tidelog::tools
