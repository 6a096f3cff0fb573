// The bytes of a local metadata store's files; REPLICATION.md has them as tables.
//
// Nothing here touches a file. What is read is checked before it is believed: magic, checksums,
// lengths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "replication/metadata_store.h"

namespace tidelog::replication {

struct StoredEntry {
  std::string value;
  Revision create_revision = 0;
  Revision mod_revision = 0;
  LeaseId lease = 0;
};
using StoredEntries = std::map<std::string, StoredEntry, std::less<>>;

struct LoggedTransaction {
  Revision revision = 0;
  std::vector<Operation> operations;
};

// Applies one transaction that committed.
void apply_transaction(const LoggedTransaction& transaction, StoredEntries& entries);

// The version that this program writes and reads.
inline constexpr std::uint32_t kMetadataFormatVersion = 1;
// A record starts on a block of this size; the unit that a torn write may damage.
inline constexpr std::size_t kRecordAlignment = 4096;
inline constexpr std::size_t kRecordHeaderBytes = 64;

struct RecordHeader {
  std::uint32_t version;
  std::uint64_t log_id;
  std::uint64_t sequence;
  std::uint64_t payload_checksum;
  Revision revision;  // after the record
  std::uint32_t payload_bytes;
  std::uint32_t transactions;
};

// A whole record, its last block filled with zeros. `revision` is the one after it.
std::vector<std::byte> encode_record(std::uint64_t log_id, std::uint64_t sequence,
                                     Revision revision, std::span<const LoggedTransaction> group);
// The header at the beginning of `bytes`; nullopt where no sound one is.
std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes);
// The transactions of a payload; nullopt unless it holds exactly `count`.
std::optional<std::vector<LoggedTransaction>> decode_transactions(
    std::span<const std::byte> payload, std::uint32_t count);

struct Snapshot {
  std::uint64_t log_id = 0;  // the log that continues it
  Revision revision = 0;
  StoredEntries entries;
};
struct SnapshotProblem {
  std::size_t position;
  std::string_view what;
};
std::vector<std::byte> encode_snapshot(std::uint64_t log_id, Revision revision,
                                       const StoredEntries& entries);
std::expected<Snapshot, SnapshotProblem> decode_snapshot(std::span<const std::byte> bytes);

}  // namespace tidelog::replication
