// gzip (RFC 1952) by zlib: one member is written, any number of them is read.
#include <zlib.h>

#include <limits>

#include "base/check.h"
#include "wire/codecs.h"

namespace tidelog::wire::codecs {
namespace {

// zlib's way to say: the largest window, with the header and trailer of gzip.
constexpr int kGzipWindowBits = 15 + 16;
constexpr int kMemoryLevel = 8;

struct Deflater {
  explicit Deflater(int first_level) : level(first_level) {
    TIDELOG_CHECK(deflateInit2(&stream, level, Z_DEFLATED, kGzipWindowBits, kMemoryLevel,
                               Z_DEFAULT_STRATEGY) == Z_OK,
                  "memory for a compression context");
  }
  ~Deflater() { deflateEnd(&stream); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  z_stream stream{};
  int level;
};

struct Inflater {
  Inflater() {
    TIDELOG_CHECK(inflateInit2(&stream, kGzipWindowBits) == Z_OK,
                  "memory for a decompression context");
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

// zlib does not change its input, but asks for it without const.
Bytef* readable(Bytes bytes) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
}

}  // namespace

void compress_gzip(Bytes in, int level, std::vector<std::byte>& out) {
  TIDELOG_CHECK(in.size() <= std::numeric_limits<uInt>::max(), "records are far below 4 GiB");
  thread_local Deflater deflater(level);
  z_stream& stream = deflater.stream;
  deflateReset(&stream);
  if (level != deflater.level) {
    TIDELOG_CHECK(deflateParams(&stream, level, Z_DEFAULT_STRATEGY) == Z_OK,
                  "a level may change before anything was compressed");
    deflater.level = level;
  }
  out.resize(deflateBound(&stream, static_cast<uLong>(in.size())));
  stream.next_in = readable(in);
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  TIDELOG_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END,
                "gzip compresses into a buffer of its own bound");
  out.resize(out.size() - stream.avail_out);
}

Result<> decompress_gzip(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out) {
  thread_local Inflater inflater;
  z_stream& stream = inflater.stream;
  inflateReset(&stream);
  bool ended = false;
  return decompress_stream(
      Codec::kGzip, in, bytes_max, out, [&stream, &ended](Bytes from, std::span<std::byte> to) {
        if (ended && !from.empty()) inflateReset(&stream);  // another member follows
        constexpr std::size_t kAtOnce = std::numeric_limits<uInt>::max();
        stream.next_in = readable(from);
        stream.avail_in = static_cast<uInt>(std::min(from.size(), kAtOnce));
        stream.next_out = reinterpret_cast<Bytef*>(to.data());
        stream.avail_out = static_cast<uInt>(std::min(to.size(), kAtOnce));
        const uInt in_before = stream.avail_in;
        const uInt out_before = stream.avail_out;
        const int result = inflate(&stream, Z_NO_FLUSH);
        ended = result == Z_STREAM_END;
        Step did{.taken = in_before - stream.avail_in,
                 .made = out_before - stream.avail_out,
                 .frame_ended = ended};
        // Z_BUF_ERROR: nothing could be done; decompress_stream() sees that.
        if (result != Z_OK && !ended && result != Z_BUF_ERROR) {
          did.error = stream.msg != nullptr ? stream.msg : "they are no gzip stream";
        }
        return did;
      });
}

}  // namespace tidelog::wire::codecs
