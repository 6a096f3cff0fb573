// verified_table<T>: the only way from received bytes to a FlatBuffers table.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <span>

#include "wire/frame.h"

namespace tidelog::wire {

template <typename T>
const T* verified_table(std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size(), /*max_depth=*/16,
                                 static_cast<flatbuffers::uoffset_t>(bytes.size() / 16 + 1));
  if (!verifier.VerifyBuffer<T>(nullptr)) return nullptr;
  return flatbuffers::GetRoot<T>(data);
}

}  // namespace tidelog::wire
