// Errors of the client library. C++20; nothing of the broker's is needed to use it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace tidelog::client {

// What to do about an error; PROTOCOL.md has the table.
enum class Action : std::uint8_t {
  kNone,
  kRetry,
  kRefreshAndRetry,
  kBackOff,
  kAuthenticate,
  kFixRequest,
  kGiveUp,
};

// An operating error: what failed, where, and what helps.
struct Error {
  std::uint16_t code = 0;  // number of the protocol's error table
  std::string name{};      // "UNKNOWN_TOPIC"
  std::string message{};   // names broker, topic, partition and cause
  std::string hint{};      // what a person can do
  Action action = Action::kNone;

  bool retriable() const {
    return action == Action::kRetry || action == Action::kRefreshAndRetry ||
           action == Action::kBackOff;
  }
  // True when the records concerned may or may not be in the log.
  bool unknown_outcome() const { return code == 14; }
  std::string to_string() const { return name + ": " + message; }
};

// Thrown by Result::value() on an error, never by anything else.
class ErrorException : public std::runtime_error {
 public:
  explicit ErrorException(Error error)
      : std::runtime_error(error.to_string()), error_(std::move(error)) {}
  const Error& error() const { return error_; }

 private:
  Error error_;
};

struct Nothing {};

// A value or an Error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Throws ErrorException where there is none.
  const T& value() const& {
    require();
    return std::get<0>(content_);
  }
  T& value() & {
    require();
    return std::get<0>(content_);
  }
  // Of a result that is about to go: a value of its own, so that
  // `for (const auto& topic : admin.list_topics().value())` walks over what is still there.
  T value() && {
    require();
    return std::get<0>(std::move(content_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }
  // REQUIRES: !ok().
  const Error& error() const& { return std::get<1>(content_); }
  Error error() && { return std::get<1>(std::move(content_)); }

 private:
  void require() const {
    if (!ok()) throw ErrorException(std::get<1>(content_));
  }
  std::variant<T, Error> content_;
};

using Status = Result<Nothing>;

}  // namespace tidelog::client
