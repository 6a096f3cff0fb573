// Values for records under load: random enough that no codec makes them vanish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidelog::tools {

class Payloads {
 public:
  // Which run a value belongs to, and which of its records it is.
  struct Stamp {
    std::uint64_t run = 0;
    std::int64_t record = 0;
  };
  static constexpr std::size_t kStampBytes = sizeof(Stamp);

  // Up to 64 values of `bytes` printable bytes, six random bits in each, that take 16 MiB together
  // or are one; the same ones for each call.
  explicit Payloads(std::size_t bytes);

  // One of them, in turn.
  std::string value(std::int64_t record) const {
    return values_[static_cast<std::size_t>(record) % values_.size()];
  }
  // The same, with the stamp in front. REQUIRES: values have kStampBytes at least.
  std::string stamped(Stamp stamp) const;
  // nullopt where there is no room for one; a value of somebody else yields a stamp of no run.
  static std::optional<Stamp> stamp_of(std::string_view value);

 private:
  std::vector<std::string> values_;
};

}  // namespace tidelog::tools
