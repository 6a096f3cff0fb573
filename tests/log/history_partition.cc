#include "tests/log/history_partition.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "wire/record.h"

namespace tidelog::log {
namespace {

constexpr char kEndOfName = '|';

std::string name_of(std::string_view value) {
  return fmt::format("{}#{:016x}", value.substr(0, value.find(kEndOfName)),
                     xxh3_64(as_bytes(value)));
}

}  // namespace

MadeBatch make_named_batch(const TopicPartition& id, const std::string& name,
                           const ProducerIdentity& identity, std::size_t bytes,
                           sim::SimRandom& random) {
  MadeBatch made;
  wire::BatchBuilder builder;
  BufferPool pool(0);
  const std::size_t records = random.between(1, 3);
  for (std::size_t i = 0; i < records; ++i) {
    std::string value = fmt::format("{}.{}{}", name, i, kEndOfName);
    std::uint64_t letters = 0;
    while (value.size() < bytes / records) {
      if (letters == 0) letters = random.next();
      value.push_back(static_cast<char>('a' + letters % 26));
      letters /= 26;
    }
    wire::RecordView record;
    record.value = value;
    builder.add(1000, record);
    made.values.push_back(name_of(value));
  }
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(id), identity, pool);
  made.bytes.assign(batch->bytes().begin(), batch->bytes().end());
  return made;
}

Result<std::vector<std::string>> names_in(const wire::BatchView& batch) {
  std::vector<std::string> names;
  wire::RecordReader reader(batch.records(), batch.record_count());
  wire::RecordView record;
  while (reader.has_next()) {
    TIDELOG_TRY(reader.next(record));
    names.push_back(name_of(record.value.value_or("")));
  }
  return names;
}

void HistoryPartition::new_producer() {
  producer =
      Producer{.name = {}, .id = ProducerId(producer.id.value() + 1), .pending = {}, .last = {}};
  if (producer.id < ProducerId(1)) producer.id = ProducerId(1);
  producer.name = fmt::format("{}/i{}", name, producer.id.value());
}

}  // namespace tidelog::log
