#include "base/error.h"

#include <algorithm>
#include <array>

namespace tidelog {
namespace {

using enum ErrorCode;
using enum ErrorAction;

constexpr auto kTable = std::to_array<ErrorInfo>({
    {kOk, "OK", kNone, ""},
    {kInternal, "INTERNAL", kGiveUp, "the broker's log says more; please report this"},
    {kInvalidArgument, "INVALID_ARGUMENT", kFixRequest, "correct the request"},
    {kUnsupportedApi, "UNSUPPORTED_API", kFixRequest,
     "use a client and a broker of the same major version"},
    {kUnsupportedVersion, "UNSUPPORTED_VERSION", kFixRequest,
     "use a client and a broker of the same major version"},
    {kUnsupportedFeature, "UNSUPPORTED_FEATURE", kFixRequest,
     "use a client and a broker of the same major version"},
    {kMalformedFrame, "MALFORMED_FRAME", kFixRequest,
     "check that the peer speaks the Tidelog protocol (port 9700 by default)"},
    {kChecksumMismatch, "CHECKSUM_MISMATCH", kRetry,
     "bytes changed on their way; if it repeats, check memory and network"},
    {kTooLarge, "TOO_LARGE", kFixRequest, "send less at once; the hello names the limits"},
    {kHelloRequired, "HELLO_REQUIRED", kFixRequest, "open the connection with a hello"},
    {kWrongCluster, "WRONG_CLUSTER", kGiveUp, "check the broker addresses"},
    {kUnknownSession, "UNKNOWN_SESSION", kRefreshAndRetry, "open a new session"},
    {kCancelled, "CANCELLED", ErrorAction::kNone, "the request was cancelled"},
    {kTimedOut, "TIMED_OUT", kRetry, "try again, or allow more time"},
    {kUnknownOutcome, "UNKNOWN_OUTCOME", kGiveUp,
     "the records may or may not be in the log; read it to find out"},
    {kConnectionFailed, "CONNECTION_FAILED", kBackOff,
     "check the address, and that the broker runs: tidelog broker"},
    {kConnectionClosed, "CONNECTION_CLOSED", kBackOff, "the client connects again by itself"},
    {kDraining, "DRAINING", kBackOff, "the broker is stopping; connect again later"},
    {kThrottled, "THROTTLED", kBackOff, "send less, or ask for a higher quota"},
    {kOverloaded, "OVERLOADED", kBackOff, "send less at once, or try again later"},
    {kUnknownTopic, "UNKNOWN_TOPIC", kRefreshAndRetry, "create it: tidelog topic create NAME"},
    {kUnknownPartition, "UNKNOWN_PARTITION", kRefreshAndRetry,
     "see which there are: tidelog topic describe NAME"},
    {kTopicExists, "TOPIC_EXISTS", kFixRequest, "use it, or choose another name"},
    {kInvalidTopicName, "INVALID_TOPIC_NAME", kFixRequest,
     "use 1 to 249 of letters, digits, '.', '_' and '-', but not '.' or '..'"},
    {kInvalidPartitions, "INVALID_PARTITIONS", kFixRequest, "ask for 1 to 10000 partitions"},
    {kInvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", kFixRequest,
     "ask for at most as many replicas as there are brokers"},
    {kInvalidSetting, "INVALID_SETTING", kFixRequest, "check the name and the value"},
    {kNotLeader, "NOT_LEADER", kRefreshAndRetry, "ask the partition's leader"},
    {kFencedLeaderEpoch, "FENCED_LEADER_EPOCH", kRefreshAndRetry, "refresh the metadata"},
    {kNotReady, "NOT_READY", kBackOff, "try again in a moment"},
    {kNotEnoughReplicas, "NOT_ENOUGH_REPLICAS", kBackOff, "bring the missing brokers back"},
    {kInvalidBatch, "INVALID_BATCH", kFixRequest,
     "the record batch is malformed; update the client"},
    {kUnsupportedCodec, "UNSUPPORTED_CODEC", kFixRequest,
     "use compression none, gzip, snappy, lz4 or zstd"},
    {kBatchTooLarge, "BATCH_TOO_LARGE", kFixRequest,
     "send smaller records, or raise the topic's max.message.bytes (4194304 at the most)"},
    {kOffsetOutOfRange, "OFFSET_OUT_OF_RANGE", kFixRequest,
     "choose an offset between the log's start and its end"},
    {kDiverged, "DIVERGED", kRefreshAndRetry,
     "records that were read are no longer in the log; go back to the offset named"},
    {kOutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE", kRefreshAndRetry,
     "the producer goes on in a new epoch by itself"},
    {kFencedProducer, "FENCED_PRODUCER", kGiveUp, "another producer took over this identity"},
    {kUnknownProducer, "UNKNOWN_PRODUCER", kRefreshAndRetry,
     "the producer goes on in a new epoch by itself"},
    {kCorruptData, "CORRUPT_DATA", kGiveUp, "run: tidelog log verify DATA-DIRECTORY"},
    {kLostData, "LOST_DATA", kGiveUp,
     "acknowledged records are missing on this disk; run: tidelog log verify DATA-DIRECTORY"},
    {kStorageFull, "STORAGE_FULL", kBackOff, "free space on the broker's disk"},
    {kStorageFailed, "STORAGE_FAILED", kGiveUp,
     "the broker's disk failed a write; replace it, then restart the broker"},
    {kDirectoryInUse, "DIRECTORY_IN_USE", kGiveUp,
     "stop the other broker, or choose another directory with --data"},
    {kNotFound, "NOT_FOUND", kFixRequest, "check the name"},
    {kAlreadyExists, "ALREADY_EXISTS", kFixRequest, "choose another name"},
    {kConflict, "CONFLICT", kRefreshAndRetry, "somebody else changed it first; read it again"},
    {kEndOfFile, "END_OF_FILE", kGiveUp, "the file is shorter than it must be"},
});

constexpr ErrorInfo kUnknownEntry = {kInternal, "UNKNOWN_ERROR", kGiveUp,
                                     "the peer is newer than this program; update it"};

static_assert(std::ranges::is_sorted(kTable, {}, &ErrorInfo::code));

}  // namespace

std::span<const ErrorInfo> error_table() { return kTable; }

const ErrorInfo& error_info(ErrorCode code) {
  const auto at = std::ranges::lower_bound(kTable, code, {}, &ErrorInfo::code);
  if (at == kTable.end() || at->code != code) return kUnknownEntry;
  return *at;
}

std::string_view to_string(ErrorAction action) {
  switch (action) {
    case ErrorAction::kNone:
      return "none";
    case kRetry:
      return "retry";
    case kRefreshAndRetry:
      return "refresh then retry";
    case kBackOff:
      return "back off";
    case kAuthenticate:
      return "authenticate";
    case kFixRequest:
      return "fix the request";
    case kGiveUp:
      return "give up";
  }
  return "give up";
}

bool Error::retriable() const {
  const ErrorAction action = info().action;
  return action == kRetry || action == kRefreshAndRetry || action == kBackOff;
}

Error Error::with_context(std::string_view context) const {
  std::string message(context);
  message += ": ";
  message += message_;
  return Error(code_, std::move(message));
}

std::string Error::to_string() const {
  std::string text(info().name);
  text += ": ";
  text += message_;
  return text;
}

}  // namespace tidelog
