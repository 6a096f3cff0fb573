// verified_table<T>: the only way from received bytes to a FlatBuffers table.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>
#include <span>

#include "wire/frame.h"
#include "wire/protocol_generated.h"

namespace tidelog::wire {
namespace internal {

// The verifier checks where a vector's length lies, not where its elements begin: a peer could
// place structs with 64-bit fields on a multiple of 4. (tests/fuzz/frame_fuzz.cc finds a table that
// is missing here.)
template <typename Struct>
bool aligned(const flatbuffers::Vector<const Struct*>* structs) {
  return structs == nullptr ||
         reinterpret_cast<std::uintptr_t>(structs->Data()) % alignof(Struct) == 0;
}
template <typename T>
bool structs_aligned(const T&) {
  return true;
}
inline bool structs_aligned(const fb::FetchRequest& table) { return aligned(table.changed()); }
inline bool structs_aligned(const fb::ListOffsetsRequest& table) {
  return aligned(table.entries());
}
inline bool structs_aligned(const fb::DeleteRecordsRequest& table) {
  return aligned(table.entries());
}

}  // namespace internal

template <typename T>
const T* verified_table(std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size(), /*max_depth=*/16,
                                 static_cast<flatbuffers::uoffset_t>(bytes.size() / 16 + 1));
  if (!verifier.VerifyBuffer<T>(nullptr)) return nullptr;
  const T* table = flatbuffers::GetRoot<T>(data);
  return internal::structs_aligned(*table) ? table : nullptr;
}

}  // namespace tidelog::wire
