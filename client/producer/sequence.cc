#include "client/producer/sequence.h"

#include <cstring>
#include <limits>

#include "base/check.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {
constexpr std::uint32_t kSequenceMask = 0x7fffffff;
}

BatchNumbers behind(const BatchNumbers& numbers, std::size_t records) {
  BatchNumbers next = numbers;
  next.base_sequence = static_cast<std::int32_t>(
      (static_cast<std::uint32_t>(numbers.base_sequence) + static_cast<std::uint32_t>(records)) &
      kSequenceMask);
  return next;
}

SharedBytes renumber(const SharedBytes& encoded, const BatchNumbers& numbers, std::uint64_t seed,
                     BufferPool& buffers) {
  const auto batch = wire::BatchView::parse(encoded.bytes(), encoded.size());
  TIDELOG_CHECK(batch.has_value(), "what was encoded is a batch");
  wire::BatchHeader header = batch->header();
  header.producer_id = numbers.producer_id;
  header.producer_epoch = numbers.producer_epoch;
  header.base_sequence = numbers.base_sequence;
  Buffer copy = buffers.take(encoded.size());
  wire::encode_batch_header(header, seed, copy.data());
  std::memcpy(copy.data() + wire::kBatchHeaderBytes, batch->records().data(),
              batch->records().size());
  return std::move(copy).freeze(encoded.size());
}

void PartitionSequence::follow(const TopicId& topic) {
  if (topic_ == topic) return;
  if (topic_) {
    next_.base_sequence = 0;
    in_doubt_ = false;
  }
  topic_ = topic;
}

BatchNumbers PartitionSequence::take(std::size_t records) {
  TIDELOG_CHECK(begun(), "numbers belong to a producer id");
  const BatchNumbers taken = next_;
  next_ = behind(next_, records);
  return taken;
}

bool PartitionSequence::begin_epoch() {
  in_doubt_ = false;
  next_.base_sequence = 0;
  if (next_.producer_epoch == std::numeric_limits<std::int16_t>::max()) {
    next_ = {};
    return false;
  }
  ++next_.producer_epoch;
  return true;
}

}  // namespace tidelog::client_core
