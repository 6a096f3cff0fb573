// Strong identifiers: offsets, partitions, epochs and brokers never mix with plain numbers.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tidelog {

// An integer with a meaning. Differences are plain numbers; ids of different meaning do not mix.
template <typename Tag, typename Rep>
class StrongInt {
 public:
  using rep = Rep;
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  constexpr auto operator<=>(const StrongInt&) const = default;
  constexpr StrongInt operator+(Rep count) const { return StrongInt(value_ + count); }
  constexpr StrongInt operator-(Rep count) const { return StrongInt(value_ - count); }
  constexpr Rep operator-(StrongInt other) const { return value_ - other.value_; }
  constexpr StrongInt& operator+=(Rep count) {
    value_ += count;
    return *this;
  }
  constexpr StrongInt& operator++() {
    ++value_;
    return *this;
  }

 private:
  Rep value_ = 0;
};

// Position of a record in its partition, from 0.
using Offset = StrongInt<struct OffsetTag, std::int64_t>;
using PartitionIndex = StrongInt<struct PartitionIndexTag, std::int32_t>;
// Rises with every change of leader and every restart after a crash; -1 where there is none.
using LeaderEpoch = StrongInt<struct LeaderEpochTag, std::int32_t>;
using BrokerId = StrongInt<struct BrokerIdTag, std::int32_t>;
// Identity of an idempotent producer; -1 is none.
using ProducerId = StrongInt<struct ProducerIdTag, std::int64_t>;
// Byte position in a file.
using FilePosition = StrongInt<struct FilePositionTag, std::uint64_t>;

// Sixteen random bytes; a topic that is deleted and made again has a new one.
struct TopicId {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const TopicId&) const = default;
  bool is_nil() const { return *this == TopicId{}; }

  // 32 lower-case hex digits.
  std::string to_string() const;
  static std::optional<TopicId> parse(std::string_view hex);
  static TopicId random();
};

// Names one partition for ever.
struct TopicPartition {
  TopicId topic;
  PartitionIndex partition;

  auto operator<=>(const TopicPartition&) const = default;
  // "<32 hex digits>/<partition>", as in the data directory.
  std::string to_string() const;
};

}  // namespace tidelog

template <typename Tag, typename Rep>
struct std::hash<tidelog::StrongInt<Tag, Rep>> {
  std::size_t operator()(tidelog::StrongInt<Tag, Rep> id) const noexcept {
    return std::hash<Rep>{}(id.value());
  }
};
template <>
struct std::hash<tidelog::TopicId> {
  std::size_t operator()(const tidelog::TopicId& id) const noexcept {
    std::size_t word;  // the id is random: any eight of its bytes are a good hash
    std::memcpy(&word, id.bytes.data(), sizeof word);
    return word;
  }
};
template <>
struct std::hash<tidelog::TopicPartition> {
  std::size_t operator()(const tidelog::TopicPartition& tp) const noexcept {
    return std::hash<tidelog::TopicId>{}(tp.topic) +
           static_cast<std::size_t>(tp.partition.value()) * 0x9E3779B97F4A7C15ULL;
  }
};
