// JSON documents as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tidelog::tools {

// `json` with `indent` spaces a level, on one line where that is -1; no newline behind it. JSON is
// UTF-8, but paths and what brokers say of them are bytes: U+FFFD stands for what is no UTF-8.
std::string json_text(const nlohmann::ordered_json& json, int indent);

}  // namespace tidelog::tools
