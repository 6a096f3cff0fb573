#include "replication/metadata_format.h"

#include <concepts>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"

namespace tidelog::replication {
namespace {

constexpr std::uint32_t kRecordMagic = 0x524D4C54;    // "TLMR"
constexpr std::uint32_t kSnapshotMagic = 0x534D4C54;  // "TLMS"
constexpr std::size_t kHeaderBytes = kRecordHeaderBytes;
constexpr std::size_t kChecksumAt = 56;

constexpr std::uint8_t kPut = 1;
constexpr std::uint8_t kDelete = 2;

class Writer {
 public:
  template <std::integral T>
  void number(std::type_identity_t<T> value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store_le<T>(bytes_.data() + at, value);
  }
  void raw(std::string_view text) {
    const auto bytes = as_bytes(text);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Reads within bounds; once it would leave them, everything reads as zero and ok() is false.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <std::integral T>
  T number() {
    if (!take(sizeof(T))) return 0;
    return load_le<T>(bytes_.data() + at_ - sizeof(T));
  }
  std::string raw(std::size_t length) {
    if (!take(length)) return "";
    return std::string(as_text(bytes_.subspan(at_ - length, length)));
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == bytes_.size(); }

 private:
  bool take(std::size_t length) {
    if (!ok_ || bytes_.size() - at_ < length) {
      ok_ = false;
      return false;
    }
    at_ += length;
    return true;
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// Fills the last field of a header.
void seal_header(std::byte* header) {
  store_le<std::uint64_t>(header + kChecksumAt, xxh3_64({header, kChecksumAt}));
}
bool header_sound(std::span<const std::byte> bytes, std::uint32_t magic) {
  return bytes.size() >= kHeaderBytes && load_le<std::uint32_t>(bytes.data()) == magic &&
         load_le<std::uint64_t>(bytes.data() + kChecksumAt) == xxh3_64(bytes.first(kChecksumAt));
}

void encode_record_header(const RecordHeader& header, std::byte* to) {
  store_le<std::uint32_t>(to, kRecordMagic);
  store_le<std::uint32_t>(to + 4, header.version);
  store_le<std::uint64_t>(to + 8, header.log_id);
  store_le<std::uint64_t>(to + 16, header.sequence);
  store_le<std::uint64_t>(to + 24, header.payload_checksum);
  store_le<std::uint64_t>(to + 32, header.revision);
  store_le<std::uint32_t>(to + 40, header.payload_bytes);
  store_le<std::uint32_t>(to + 44, header.transactions);
  store_le<std::uint64_t>(to + 48, 0);
  seal_header(to);
}

void encode_transaction(const LoggedTransaction& transaction, Writer& to) {
  to.number<std::uint64_t>(transaction.revision);
  to.number<std::uint32_t>(static_cast<std::uint32_t>(transaction.operations.size()));
  for (const Operation& operation : transaction.operations) {
    const std::string_view value = operation.value ? *operation.value : std::string_view();
    to.number<std::uint8_t>(operation.value ? kPut : kDelete);
    to.number<std::uint64_t>(operation.lease);
    to.number<std::uint32_t>(static_cast<std::uint32_t>(operation.key.size()));
    to.number<std::uint32_t>(static_cast<std::uint32_t>(value.size()));
    to.raw(operation.key);
    to.raw(value);
  }
}

// Nullopt when the bytes are no transaction.
std::optional<LoggedTransaction> decode_transaction(Cursor& from) {
  LoggedTransaction transaction;
  transaction.revision = from.number<std::uint64_t>();
  const auto operations = from.number<std::uint32_t>();
  for (std::uint32_t i = 0; i < operations && from.ok(); ++i) {
    Operation operation;
    const auto kind = from.number<std::uint8_t>();
    operation.lease = from.number<std::uint64_t>();
    const auto key_bytes = from.number<std::uint32_t>();
    const auto value_bytes = from.number<std::uint32_t>();
    operation.key = from.raw(key_bytes);
    std::string value = from.raw(value_bytes);
    if (kind != kPut && kind != kDelete) return std::nullopt;
    if (kind == kPut) operation.value = std::move(value);
    transaction.operations.push_back(std::move(operation));
  }
  if (!from.ok()) return std::nullopt;
  return transaction;
}

}  // namespace

void apply_transaction(const LoggedTransaction& transaction, StoredEntries& entries) {
  for (const Operation& operation : transaction.operations) {
    if (!operation.value) {
      entries.erase(operation.key);
      continue;
    }
    StoredEntry& entry = entries[operation.key];
    if (entry.create_revision == 0) entry.create_revision = transaction.revision;
    entry.mod_revision = transaction.revision;
    entry.value = *operation.value;
    entry.lease = operation.lease;
  }
}

std::vector<std::byte> encode_record(std::uint64_t log_id, std::uint64_t sequence,
                                     Revision revision, std::span<const LoggedTransaction> group) {
  Writer to;
  to.bytes().resize(kHeaderBytes);
  for (const LoggedTransaction& transaction : group) encode_transaction(transaction, to);
  const std::size_t used = to.bytes().size();
  TIDELOG_CHECK(used - kHeaderBytes <= std::numeric_limits<std::uint32_t>::max(),
                "a group of transactions is far below 4 GiB");
  const auto payload = std::span<const std::byte>(to.bytes()).subspan(kHeaderBytes);
  encode_record_header({.version = kMetadataFormatVersion,
                        .log_id = log_id,
                        .sequence = sequence,
                        .payload_checksum = xxh3_64(payload),
                        .revision = revision,
                        .payload_bytes = static_cast<std::uint32_t>(payload.size()),
                        .transactions = static_cast<std::uint32_t>(group.size())},
                       to.bytes().data());
  to.bytes().resize(align_up(used, kRecordAlignment));
  return std::move(to.bytes());
}

std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes) {
  if (!header_sound(bytes, kRecordMagic)) return std::nullopt;
  const std::byte* from = bytes.data();
  return RecordHeader{.version = load_le<std::uint32_t>(from + 4),
                      .log_id = load_le<std::uint64_t>(from + 8),
                      .sequence = load_le<std::uint64_t>(from + 16),
                      .payload_checksum = load_le<std::uint64_t>(from + 24),
                      .revision = load_le<std::uint64_t>(from + 32),
                      .payload_bytes = load_le<std::uint32_t>(from + 40),
                      .transactions = load_le<std::uint32_t>(from + 44)};
}

std::optional<std::vector<LoggedTransaction>> decode_transactions(
    std::span<const std::byte> payload, std::uint32_t count) {
  Cursor from(payload);
  std::vector<LoggedTransaction> transactions;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::optional<LoggedTransaction> transaction = decode_transaction(from);
    if (!transaction) return std::nullopt;
    transactions.push_back(std::move(*transaction));
  }
  if (!from.at_end()) return std::nullopt;
  return transactions;
}

std::vector<std::byte> encode_snapshot(std::uint64_t log_id, Revision revision,
                                       const StoredEntries& entries) {
  Writer to;
  to.bytes().resize(kHeaderBytes);
  for (const auto& [key, entry] : entries) {
    to.number<std::uint64_t>(entry.create_revision);
    to.number<std::uint64_t>(entry.mod_revision);
    to.number<std::uint64_t>(entry.lease);
    to.number<std::uint32_t>(static_cast<std::uint32_t>(key.size()));
    to.number<std::uint32_t>(static_cast<std::uint32_t>(entry.value.size()));
    to.raw(key);
    to.raw(entry.value);
  }
  const auto payload = std::span<const std::byte>(to.bytes()).subspan(kHeaderBytes);
  std::byte* header = to.bytes().data();
  store_le<std::uint32_t>(header, kSnapshotMagic);
  store_le<std::uint32_t>(header + 4, kMetadataFormatVersion);
  store_le<std::uint64_t>(header + 8, log_id);
  store_le<std::uint64_t>(header + 16, revision);
  store_le<std::uint64_t>(header + 24, xxh3_64(payload));
  store_le<std::uint64_t>(header + 32, payload.size());
  store_le<std::uint64_t>(header + 40, entries.size());
  store_le<std::uint64_t>(header + 48, 0);
  seal_header(header);
  return std::move(to.bytes());
}

std::expected<Snapshot, SnapshotProblem> decode_snapshot(std::span<const std::byte> bytes) {
  const auto problem = [](std::size_t position, std::string_view what) {
    return std::unexpected(SnapshotProblem{position, what});
  };
  if (!header_sound(bytes, kSnapshotMagic)) return problem(0, "its header does not verify");
  const std::byte* header = bytes.data();
  if (load_le<std::uint32_t>(header + 4) != kMetadataFormatVersion) {
    return problem(4, "its version is not known to this program");
  }
  Snapshot snapshot;
  snapshot.log_id = load_le<std::uint64_t>(header + 8);
  snapshot.revision = load_le<std::uint64_t>(header + 16);
  const auto payload = bytes.subspan(kHeaderBytes);
  if (load_le<std::uint64_t>(header + 32) != payload.size() ||
      load_le<std::uint64_t>(header + 24) != xxh3_64(payload)) {
    return problem(kHeaderBytes, "its keys do not verify");
  }
  Cursor from(payload);
  const auto count = load_le<std::uint64_t>(header + 40);
  for (std::uint64_t i = 0; i < count && from.ok(); ++i) {
    StoredEntry entry;
    entry.create_revision = from.number<std::uint64_t>();
    entry.mod_revision = from.number<std::uint64_t>();
    entry.lease = from.number<std::uint64_t>();
    const auto key_bytes = from.number<std::uint32_t>();
    const auto value_bytes = from.number<std::uint32_t>();
    std::string key = from.raw(key_bytes);
    entry.value = from.raw(value_bytes);
    snapshot.entries.insert_or_assign(std::move(key), std::move(entry));
  }
  if (!from.at_end() || snapshot.entries.size() != count) {
    return problem(kHeaderBytes, "its keys cannot be read");
  }
  return snapshot;
}

}  // namespace tidelog::replication
