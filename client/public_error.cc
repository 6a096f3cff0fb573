#include "client/public_error.h"

namespace tidelog::client_core {
namespace {

client::Action to_public(ErrorAction action) {
  switch (action) {
    case ErrorAction::kNone:
      return client::Action::kNone;
    case ErrorAction::kRetry:
      return client::Action::kRetry;
    case ErrorAction::kRefreshAndRetry:
      return client::Action::kRefreshAndRetry;
    case ErrorAction::kBackOff:
      return client::Action::kBackOff;
    case ErrorAction::kAuthenticate:
      return client::Action::kAuthenticate;
    case ErrorAction::kFixRequest:
      return client::Action::kFixRequest;
    case ErrorAction::kGiveUp:
      return client::Action::kGiveUp;
  }
  return client::Action::kGiveUp;
}

}  // namespace

client::Error to_public(const Error& error) {
  const ErrorInfo& info = error.info();
  return {.code = static_cast<std::uint16_t>(error.code()),
          .name = std::string(info.name),
          .message = error.message(),
          .hint = std::string(info.hint),
          .action = to_public(info.action)};
}

}  // namespace tidelog::client_core
