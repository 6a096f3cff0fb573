#include "broker/live_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/logging.h"

namespace tidelog::broker {
namespace {

Result<> check_live(std::string_view name) {
  const auto info = std::ranges::find(setting_table(), name, &SettingInfo::name);
  // Unknown names are refused by who sets them, with the closest ones.
  if (info == setting_table().end() || info->change == SettingChange::kLive) return {};
  return fail(ErrorCode::kInvalidSetting,
              fmt::format("{} cannot change while the broker runs: set it in the settings file, by "
                          "{} or by --set, and restart the broker",
                          name, environment_name(name)));
}

}  // namespace

LiveSettings::LiveSettings(BrokerSettings settings, Apply apply)
    : settings_(std::move(settings)), apply_(std::move(apply)) {
  TIDELOG_CHECK(apply_ != nullptr, "changed settings must reach somebody");
}

Result<> LiveSettings::change(const Changes& changes, std::string_view by) {
  const std::lock_guard lock(mutex_);
  BrokerSettings changed = settings_;
  for (const auto& [name, value] : changes) {
    TIDELOG_TRY(check_live(name));
    TIDELOG_TRY(set_broker_setting(changed, name, value));
    changed.origins[name] = SettingOrigin::kLive;
  }
  // Told before it is done: the change may be to a level at which it would not be told.
  for (const SettingInfo& info : setting_table()) {
    const std::string before = info.get(settings_);
    const std::string now = info.get(changed);
    if (before == now) continue;
    log_warning(fmt::format("setting {} changes from {} to {} until the next restart", info.name,
                            before, now),
                {{"setting", std::string(info.name)},
                 {"from", before},
                 {"to", now},
                 {"by", std::string(by)}});
  }
  apply_(changed);
  settings_ = std::move(changed);
  return {};
}

std::vector<SettingValue> LiveSettings::values() const {
  const std::lock_guard lock(mutex_);
  std::vector<SettingValue> values;
  for (const SettingInfo& info : setting_table()) {
    const auto origin = settings_.origins.find(info.name);
    values.push_back(
        {.info = &info,
         .value = info.get(settings_),
         .origin = origin != settings_.origins.end() ? origin->second : SettingOrigin::kDefault});
  }
  return values;
}

}  // namespace tidelog::broker
