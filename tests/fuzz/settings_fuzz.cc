// A settings file of anybody's making: refused with its line, or each value is one that the same
// setting takes again.
#include "broker/settings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "base/check.h"
#include "broker/settings_file.h"

namespace {

using tidelog::broker::BrokerSettings;

void fuzz_settings(const std::uint8_t* data, std::size_t size) {
  static const int file = memfd_create("settings", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  TIDELOG_CHECK(file >= 0 && ftruncate(file, 0) == 0, "there is a file");
  TIDELOG_CHECK(pwrite(file, data, size, 0) == static_cast<ssize_t>(size), "it is written");
  const auto entries = tidelog::broker::read_settings_file(path);
  const auto settings = tidelog::broker::load_broker_settings({.file = path});
  if (!settings) {
    TIDELOG_CHECK(settings.error().message().find(path) != std::string::npos,
                  "a refusal says where");
    return;
  }
  TIDELOG_CHECK(entries.has_value(), "what was loaded can be read");
  for (const auto& info : tidelog::broker::setting_table()) {
    const std::string value = info.get(*settings);
    if (value.empty()) continue;
    BrokerSettings again = *settings;
    TIDELOG_CHECK(info.set(again, info.name, value).has_value(), "a setting takes what it shows");
    TIDELOG_CHECK(info.get(again) == value, "and shows it again");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_settings(data, size);
  return 0;
}
