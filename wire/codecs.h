// Inside wire/ only: the codecs one by one, which compression.h chooses from.
//
// Every decompress function replaces the contents of `out`, which never grows beyond `bytes_max`;
// fails with kInvalidBatch (damaged input) and kTooLarge (more than `bytes_max` would come out).
// Every compress function replaces the contents of `out`; `level` is one of the codec's levels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/record_batch.h"

namespace tidelog::wire::codecs {

using Bytes = std::span<const std::byte>;

void compress_gzip(Bytes in, int level, std::vector<std::byte>& out);
Result<> decompress_gzip(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out);

void compress_snappy(Bytes in, std::vector<std::byte>& out);
Result<> decompress_snappy(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out);

void compress_lz4(Bytes in, int level, std::vector<std::byte>& out);
Result<> decompress_lz4(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out);

void compress_zstd(Bytes in, int level, std::vector<std::byte>& out);
Result<> decompress_zstd(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out);

// ---- what they share ----

std::unexpected<Error> damaged(Codec codec, std::string_view cause);
std::unexpected<Error> too_large(Codec codec, std::size_t bytes_max);

// Contexts are costly to make and bound to no batch: there is one of each a thread, freed by this.
template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* context) const {
    Free(context);
  }
};

// What one step of a decompressor did.
struct Step {
  std::size_t taken = 0;
  std::size_t made = 0;
  bool frame_ended = false;
  const char* error = nullptr;
};

// Feeds `in` to `step` and lets `out` grow with what really comes out, never with what is promised.
// Every byte beyond `bytes_max` goes to `beyond` and ends it.
template <typename StepFunction>
Result<> decompress_stream(Codec codec, Bytes in, std::size_t bytes_max,
                           std::vector<std::byte>& out, StepFunction step) {
  const std::size_t guess = std::max<std::size_t>(in.size() * 4, 16 * 1024);
  out.resize(std::min(bytes_max, std::max(out.size(), guess)));
  std::size_t made = 0;
  bool frame_ended = false;
  for (;;) {
    std::byte beyond{};
    const bool full = made == bytes_max;
    if (!full && made == out.size()) out.resize(std::min(bytes_max, out.size() * 2));
    const Step did = step(in, full ? std::span(&beyond, 1) : std::span(out).subspan(made));
    if (did.error != nullptr) return damaged(codec, did.error);
    if (full && did.made > 0) return too_large(codec, bytes_max);
    in = in.subspan(did.taken);
    made += did.made;
    // A step that does nothing changes no state either.
    if (did.taken > 0 || did.made > 0) frame_ended = did.frame_ended;
    if (in.empty() && frame_ended) break;
    if (did.taken == 0 && did.made == 0) return damaged(codec, "they end too early");
  }
  out.resize(made);
  return {};
}

}  // namespace tidelog::wire::codecs
