#include "log/io/storage_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace tidelog::log::io {
namespace {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kStorageFull;
    case ENOENT:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case EMFILE:
    case ENFILE:
      return ErrorCode::kOverloaded;
    default:
      return ErrorCode::kStorageFailed;
  }
}

}  // namespace

Error storage_error(int error_number, std::string_view operation, std::string_view path) {
  return Error(code_of(error_number), fmt::format("{} '{}': {}", operation, path,
                                                  std::generic_category().message(error_number)));
}

Error sync_error(int error_number, std::string_view operation, std::string_view path) {
  return {ErrorCode::kStorageFailed, fmt::format("{} '{}': {}", operation, path,
                                                 std::generic_category().message(error_number))};
}

bool is_final(const Error& error) {
  return error.code() != ErrorCode::kStorageFull && error.code() != ErrorCode::kOverloaded;
}

}  // namespace tidelog::log::io
