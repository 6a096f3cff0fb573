// The settings of a running broker: what they are, where each came from, and the change of those
// that may change while it runs.
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "broker/settings.h"

namespace tidelog::broker {

struct SettingValue {
  const SettingInfo* info = nullptr;
  std::string value;
  SettingOrigin origin = SettingOrigin::kDefault;
};

// Concurrency: safe from several threads; the lock is held for microseconds and only by those who
// read or change settings, which the data path never does.
class LiveSettings {
 public:
  // Called once for each change, with all settings as they are then, one call at a time. Must only
  // store what others read.
  using Apply = std::function<void(const BrokerSettings&)>;

  LiveSettings(BrokerSettings settings, Apply apply);
  LiveSettings(const LiveSettings&) = delete;
  LiveSettings& operator=(const LiveSettings&) = delete;

  using Changes = std::vector<std::pair<std::string, std::string>>;
  // All of them or none; `by` names who asked, for the log. They hold until the broker restarts.
  // Fails with kInvalidSetting: an unknown name, a bad value, a setting that needs a restart.
  Result<> change(const Changes& changes, std::string_view by);

  // In the order of setting_table().
  std::vector<SettingValue> values() const;

 private:
  mutable std::mutex mutex_;
  BrokerSettings settings_;  // guarded by mutex_
  const Apply apply_;
};

}  // namespace tidelog::broker
