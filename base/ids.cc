#include "base/ids.h"

#include "base/random.h"

namespace tidelog {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string TopicId::to_string() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(32);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

std::optional<TopicId> TopicId::parse(std::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  TopicId id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return id;
}

TopicId TopicId::random() {
  TopicId id;
  random_bytes(std::as_writable_bytes(std::span(id.bytes)));
  return id;
}

std::string TopicPartition::to_string() const {
  return topic.to_string() + "/" + std::to_string(partition.value());
}

}  // namespace tidelog
