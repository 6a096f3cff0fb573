#include "wire/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

constexpr std::size_t kHeaderBytesMin = 2;  // two lengths of one byte each

constexpr std::uint64_t zigzag(std::int64_t value) {
  return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

// Bytes of `value` as a zigzag varint.
constexpr std::size_t varint_bytes(std::int64_t value) {
  return static_cast<std::size_t>(std::bit_width(zigzag(value) | 1) + 6) / 7;
}

std::byte* put_varint(std::byte* to, std::int64_t value) {
  std::uint64_t rest = zigzag(value);
  while (rest >= 0x80) {
    *to++ = static_cast<std::byte>(rest | 0x80);
    rest >>= 7;
  }
  *to++ = static_cast<std::byte>(rest);
  return to;
}

std::size_t text_bytes(const std::optional<std::string_view>& text) {
  return text ? varint_bytes(static_cast<std::int64_t>(text->size())) + text->size() : 1;
}

std::byte* put_text(std::byte* to, const std::optional<std::string_view>& text) {
  if (!text) return put_varint(to, -1);
  to = put_varint(to, static_cast<std::int64_t>(text->size()));
  if (!text->empty()) std::memcpy(to, text->data(), text->size());
  return to + text->size();
}

// Bytes of a record without its length field.
std::size_t body_bytes(const RecordView& record) {
  std::size_t bytes = 1 + varint_bytes(record.timestamp_delta_ms) +
                      varint_bytes(record.offset_delta) + text_bytes(record.key) +
                      text_bytes(record.value) +
                      varint_bytes(static_cast<std::int64_t>(record.headers.size()));
  for (const HeaderView& header : record.headers) {
    bytes += text_bytes(header.key) + text_bytes(header.value);
  }
  return bytes;
}

// Takes fields from the front of a byte range. Every take says whether the field was there, whole.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  std::span<const std::byte> rest() const { return {at_, end_}; }

  bool take_byte(std::byte& out) {
    if (at_ == end_) return false;
    out = *at_++;
    return true;
  }

  bool take_varlong(std::int64_t& out) {
    if (at_ != end_ && (*at_ & std::byte{0x80}) == std::byte{0}) [[likely]] {
      out = unzigzag(std::to_integer<std::uint64_t>(*at_++));
      return true;
    }
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(*at_++);
      if (shift == 63 && byte > 1) return false;  // beyond 64 bits
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) {
        out = unzigzag(value);
        return true;
      }
    }
    return false;
  }

  bool take_varint(std::int32_t& out) {
    std::int64_t wide = 0;
    if (!take_varlong(wide) || wide < std::numeric_limits<std::int32_t>::min() ||
        wide > std::numeric_limits<std::int32_t>::max()) {
      return false;
    }
    out = static_cast<std::int32_t>(wide);
    return true;
  }

  // A length of -1 and nothing, or a length and that many bytes.
  bool take_text(std::optional<std::string_view>& out) {
    std::int32_t length = 0;
    if (!take_varint(length) || length < -1) return false;
    if (length == -1) {
      out.reset();
      return true;
    }
    const auto bytes = static_cast<std::size_t>(length);
    if (bytes > left()) return false;
    out.emplace(reinterpret_cast<const char*>(at_), bytes);
    at_ += bytes;
    return true;
  }

  bool take_headers(std::vector<HeaderView>& out) {
    std::int32_t count = 0;
    if (!take_varint(count) || count < 0 ||
        static_cast<std::size_t>(count) >
            std::min(left() / kHeaderBytesMin, kHeadersPerRecordMax)) {
      return false;
    }
    for (std::int32_t i = 0; i < count; ++i) {
      std::optional<std::string_view> key;
      HeaderView& header = out.emplace_back();
      if (!take_text(key) || !key || !take_text(header.value)) return false;
      header.key = *key;
    }
    return true;
  }

 private:
  const std::byte* at_;
  const std::byte* end_;
};

}  // namespace

std::size_t record_bytes(const RecordView& record) {
  const std::size_t body = body_bytes(record);
  return varint_bytes(static_cast<std::int64_t>(body)) + body;
}

void append_record(const RecordView& record, std::vector<std::byte>& out) {
  const std::size_t body = body_bytes(record);
  TIDELOG_CHECK(body <= std::numeric_limits<std::int32_t>::max(),
                "a record's length must fit its field");
  const std::size_t length_bytes = varint_bytes(static_cast<std::int64_t>(body));
  const std::size_t before = out.size();
  out.resize(before + length_bytes + body);
  std::byte* to = put_varint(out.data() + before, static_cast<std::int64_t>(body));
  *to++ = std::byte{0};  // attributes
  to = put_varint(to, record.timestamp_delta_ms);
  to = put_varint(to, record.offset_delta);
  to = put_text(to, record.key);
  to = put_text(to, record.value);
  to = put_varint(to, static_cast<std::int64_t>(record.headers.size()));
  for (const HeaderView& header : record.headers) {
    to = put_text(to, header.key);
    to = put_text(to, header.value);
  }
  TIDELOG_CHECK(to == out.data() + out.size(),
                "a record's size must be known before it is written");
}

Result<> RecordReader::next(RecordView& record) {
  FieldReader section(rest_);
  std::int32_t length = 0;
  if (!section.take_varint(length) || length < 0 ||
      static_cast<std::size_t>(length) > section.left()) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record's length points outside its batch ({} records left)", left_));
  }
  FieldReader fields(section.rest().first(static_cast<std::size_t>(length)));
  std::byte attributes{};
  record.headers.clear();
  if (!fields.take_byte(attributes) || attributes != std::byte{0} ||
      !fields.take_varlong(record.timestamp_delta_ms) || !fields.take_varint(record.offset_delta) ||
      !fields.take_text(record.key) || !fields.take_text(record.value) ||
      !fields.take_headers(record.headers) || fields.left() != 0) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record of {} bytes is malformed ({} records left)", length, left_));
  }
  if (record.offset_delta <= offset_delta_before_ || record.offset_delta > last_offset_delta_) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("a record's offset delta {} follows {} in a batch that ends at {}",
                            record.offset_delta, offset_delta_before_, last_offset_delta_));
  }
  offset_delta_before_ = record.offset_delta;
  rest_ = section.rest().subspan(static_cast<std::size_t>(length));
  --left_;
  if (left_ == 0 && !rest_.empty()) {
    return fail(ErrorCode::kInvalidBatch,
                fmt::format("{} bytes are left behind a batch's last record", rest_.size()));
  }
  return {};
}

}  // namespace tidelog::wire
