// Errors: what went wrong, where, whether trying again helps, and what a person can do.
//
// One table (error_table) holds every code with its wire number, action and hint. Wire numbers are
// never reused or changed. The sentence in an Error names the broker, topic, partition, offset or
// file concerned; the hint from the table says what to do next.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tidelog {

// The enumerator's value is the number on the wire.
enum class ErrorCode : std::uint16_t {
  kOk = 0,
  // Requests and connections.
  kInternal = 1,
  kInvalidArgument = 2,
  kUnsupportedApi = 3,
  kUnsupportedVersion = 4,
  kUnsupportedFeature = 5,
  kMalformedFrame = 6,
  kChecksumMismatch = 7,
  kTooLarge = 8,
  kHelloRequired = 9,
  kWrongCluster = 10,
  kUnknownSession = 11,
  kCancelled = 12,
  kTimedOut = 13,
  kUnknownOutcome = 14,
  kConnectionFailed = 15,
  kConnectionClosed = 16,
  kDraining = 17,
  kThrottled = 18,
  kOverloaded = 19,
  // Topics and partitions.
  kUnknownTopic = 30,
  kUnknownPartition = 31,
  kTopicExists = 32,
  kInvalidTopicName = 33,
  kInvalidPartitions = 34,
  kInvalidReplicationFactor = 35,
  kInvalidSetting = 36,
  kNotLeader = 37,
  kFencedLeaderEpoch = 38,
  kNotReady = 39,
  kNotEnoughReplicas = 40,
  // Records.
  kInvalidBatch = 50,
  kUnsupportedCodec = 51,
  kBatchTooLarge = 52,
  kOffsetOutOfRange = 53,
  kDiverged = 54,
  kOutOfOrderSequence = 55,
  kFencedProducer = 56,
  kUnknownProducer = 57,
  // Storage.
  kCorruptData = 70,
  kLostData = 71,
  kStorageFull = 72,
  kStorageFailed = 73,
  kDirectoryInUse = 74,
  kNotFound = 75,
  kAlreadyExists = 76,
  kConflict = 77,
  kEndOfFile = 78,
};

// What the receiver of an error should do.
enum class ErrorAction : std::uint8_t {
  kNone,             // not an error
  kRetry,            // the same request again, at once or after throttle_ms
  kRefreshAndRetry,  // fetch metadata (or a new session) first
  kBackOff,          // again, later
  kAuthenticate,     // prove who you are first
  kFixRequest,       // the same request can never succeed
  kGiveUp,           // a person must look
};

struct ErrorInfo {
  ErrorCode code;
  std::string_view name;  // as in PROTOCOL.md, such as "UNKNOWN_TOPIC"
  ErrorAction action;
  std::string_view hint;  // for a person: what to do next
};

// All codes, in the order of their wire numbers.
std::span<const ErrorInfo> error_table();

// The entry of `code`. A number that this version does not know (from a newer peer) yields an
// entry named "UNKNOWN_ERROR" with action kGiveUp.
const ErrorInfo& error_info(ErrorCode code);

std::string_view to_string(ErrorAction action);

// An operating error. Cheap to move; copyable.
class [[nodiscard]] Error {
 public:
  // REQUIRES: code != kOk; `message` is a sentence without final full stop that names what failed.
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const ErrorInfo& info() const { return error_info(code_); }
  bool retriable() const;

  // The same error with `context: ` before its message.
  Error with_context(std::string_view context) const;

  // "UNKNOWN_TOPIC: topic 'x' does not exist".
  std::string to_string() const;

 private:
  ErrorCode code_;
  std::string message_;
};

}  // namespace tidelog
