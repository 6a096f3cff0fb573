#include "tools/json_text.h"

#include <nlohmann/json.hpp>

namespace tidelog::tools {

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  using Json = nlohmann::ordered_json;
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace tidelog::tools
