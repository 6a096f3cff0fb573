// From the errors inside to those of the public headers.
#pragma once

#include "base/error.h"
#include "tidelog/error.h"

namespace tidelog::client_core {

client::Error to_public(const Error& error);

}  // namespace tidelog::client_core
