// The half of inspect.h that shows files item by item.
#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "log/batch_walk.h"
#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/file_window.h"
#include "log/inspect.h"
#include "log/journal_format.h"
#include "log/segment_format.h"
#include "log/segment_index.h"
#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kSmallFileBytesMax = std::uint64_t{1} << 30;

std::string text(std::integral auto value) { return fmt::format("{}", value); }
std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

void show_batch(const DumpCallback& show, std::uint64_t position, const wire::BatchView& batch,
                std::string problem) {
  DumpItem item;
  item.kind = "batch";
  item.position = position;
  item.batch = batch.header();
  item.records = batch.records();
  item.problem = std::move(problem);
  const wire::BatchHeader& header = *item.batch;
  item.fields = {{"base_offset", text(header.base_offset.value())},
                 {"next_offset", text(header.next_offset().value())},
                 {"epoch", text(header.leader_epoch.value())},
                 {"records", text(header.record_count)},
                 {"bytes", text(batch.size())},
                 {"codec", text(static_cast<int>(header.codec()))},
                 {"max_timestamp_ms", text(header.max_timestamp_ms)},
                 {"append_time_us", text(header.append_time_us)}};
  show(item);
}

// The batches of `bytes`, as far as they can be told apart.
void show_batches(const DumpCallback& show, std::span<const std::byte> bytes, std::uint64_t start,
                  const TopicPartition& id) {
  const std::uint64_t seed = wire::batch_seed(id);
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    if (load_le<std::uint32_t>(bytes.data() + at) == 0) {
      at = static_cast<std::size_t>(align_up(start + at + 1, kSectorBytes) - start);
      continue;
    }
    const auto batch = wire::BatchView::parse(bytes.subspan(at), kStoredBatchBytesMax);
    if (!batch) {
      DumpItem item;
      item.kind = "batch";
      item.position = start + at;
      item.problem = batch.error().message();
      return show(item);
    }
    const auto sound = batch->verify(seed);
    show_batch(show, start + at, *batch, sound ? "" : sound.error().message());
    at += batch->size();
  }
}

DumpItem write_item(std::uint64_t position, const WriteHeader& header) {
  DumpItem item;
  item.kind = "write";
  item.position = position;
  item.fields = {{"sequence", text(header.sequence)},
                 {"bytes_used", text(header.bytes_used)},
                 {"entries", text(header.entries)},
                 {"durable", text(header.durable)},
                 {"first", text(header.first)}};
  return item;
}

Result<> dump_segment(io::File& file, std::uint64_t size, const DumpCallback& show) {
  FileWindow window(file, size);
  TIDELOG_ASSIGN(const auto block, window.at(0, io::kBlockBytes));
  const auto header = decode_segment_header(block);
  DumpItem top;
  top.kind = "segment";
  if (!header) {
    top.problem = "the first block is damaged";
    show(top);
    return {};
  }
  top.fields = {{"file_id", hex(header->file_id)},
                {"partition", header->id.to_string()},
                {"base_offset", text(header->base.value())},
                {"created_us", text(header->created_us)}};
  show(top);
  for (std::uint64_t at = io::kBlockBytes; at < size;) {
    TIDELOG_ASSIGN(const auto front, window.at(at, kWriteHeaderBytes));
    const auto write = decode_write_header(front);
    if (!write || write->file_id != header->file_id || write->position != at) {
      at += io::kBlockBytes;
      continue;
    }
    show(write_item(at, *write));
    TIDELOG_ASSIGN(const auto bytes, window.at(at, write->bytes_used));
    show_batches(show, bytes.subspan(kWriteHeaderBytes), at + kWriteHeaderBytes, header->id);
    at += write->disk_bytes();
  }
  return {};
}

void show_entries(const DumpCallback& show, std::span<const std::byte> write, std::uint64_t at,
                  const WriteHeader& header) {
  static constexpr std::string_view kKinds[] = {"append", "truncate", "durable-end"};
  std::size_t batches = kWriteHeaderBytes + std::size_t{header.entries} * kJournalEntryBytes;
  for (std::uint32_t i = 0; i < header.entries; ++i) {
    const std::size_t entry_at = kWriteHeaderBytes + i * kJournalEntryBytes;
    DumpItem item;
    item.kind = "entry";
    item.position = at + entry_at;
    const auto entry = decode_journal_entry(write.data() + entry_at);
    if (!entry || entry->length > write.size() - batches) {
      item.problem = "the entry cannot be read";
      return show(item);
    }
    item.fields = {{"partition", entry->id.to_string()},
                   {"kind", std::string(kKinds[static_cast<std::size_t>(entry->kind) - 1])},
                   {"durable_end", text(entry->durable_end.value())},
                   {"base_offset", text(entry->base.value())},
                   {"next_offset", text(entry->next.value())},
                   {"length", text(entry->length)},
                   {"incarnation", text(entry->incarnation)}};
    show(item);
    show_batches(show, write.subspan(batches, entry->length), at + batches, entry->id);
    batches += entry->length;
  }
}

Result<> dump_journal(io::File& file, std::uint64_t size, const DumpCallback& show) {
  FileWindow window(file, size);
  std::optional<JournalFileHeader> newest;
  for (std::uint64_t slot = 0; slot < kJournalDataStart; slot += io::kBlockBytes) {
    TIDELOG_ASSIGN(const auto block, window.at(slot, io::kBlockBytes));
    const auto header = decode_journal_header(block);
    DumpItem item;
    item.kind = "journal";
    item.position = slot;
    if (!header) {
      item.problem = "the header is damaged";
    } else {
      item.fields = {
          {"journal_id", hex(header->journal_id)}, {"generation", text(header->generation)},
          {"shard", text(header->shard)},          {"shards", text(header->shard_count)},
          {"file", text(header->file_number)},     {"files", text(header->ring_files)},
          {"bytes", text(header->file_bytes)}};
      if (!newest || header->generation > newest->generation) newest = header;
    }
    show(item);
  }
  if (!newest) return {};
  for (std::uint64_t at = kJournalDataStart; at < size; at += io::kBlockBytes) {
    TIDELOG_ASSIGN(const auto front, window.at(at, io::kBlockBytes));
    if (!has_write_magic(front)) continue;
    // The table decides how much has to be looked at.
    const auto length = load_le<std::uint32_t>(front.data() + 24);
    if (length > size - at) continue;
    TIDELOG_ASSIGN(const auto write,
                   window.at(at, std::max<std::size_t>(length, kWriteHeaderBytes)));
    const auto header = decode_write_header(write);
    if (!header || header->file_id != newest->journal_id ||
        header->position != journal_position(newest->file_number, at)) {
      continue;
    }
    show(write_item(at, *header));
    show_entries(show, write, at, *header);
  }
  return {};
}

void show_checkpoint(const DumpCallback& show, const CheckpointContent& content) {
  for (const JournalCheckpoint& journal : content.journals) {
    DumpItem item;
    item.kind = "journal";
    item.fields = {{"journal_id", hex(journal.journal_id)},
                   {"durable_sequence", text(journal.durable_sequence)},
                   {"oldest_sequence", text(journal.oldest_sequence)},
                   {"oldest_position", text(journal.oldest_position)}};
    show(item);
  }
  for (const LogCheckpoint& log : content.logs) {
    DumpItem item;
    item.kind = "log";
    item.fields = {{"partition", log.id.to_string()},
                   {"incarnation", text(log.incarnation)},
                   {"log_start", text(log.log_start.value())},
                   {"recovery_point", text(log.recovery_point.value())},
                   {"durable_end", text(log.durable_end.value())},
                   {"high_watermark", text(log.high_watermark.value())},
                   {"lossy", log.lossy ? "true" : "false"}};
    show(item);
  }
}

// Catalog, checkpoint, meta and marker: false when `magic` is none of them.
bool dump_slot(std::uint32_t magic, std::span<const std::byte> file, const DumpCallback& show) {
  const char* kind = magic == kCatalogMagic      ? "catalog"
                     : magic == kCheckpointMagic ? "checkpoint"
                     : magic == kMetaMagic       ? "meta"
                     : magic == kCleanStopMagic  ? "clean-stop"
                                                 : nullptr;
  if (kind == nullptr) return false;
  DumpItem top;
  top.kind = kind;
  const auto slot = decode_slot(magic, file);
  if (!slot) {
    top.problem = "a checksum is wrong";
    show(top);
    return true;
  }
  top.fields = {{"generation", text(slot->generation)}};
  if (magic == kMetaMagic) {
    if (const auto meta = decode_meta(slot->body)) {
      top.fields.insert(top.fields.end(), {{"broker_id", text(meta->broker_id)},
                                           {"cluster_id", meta->cluster_id},
                                           {"directory_id", meta->directory_id}});
    } else {
      top.problem = "the body cannot be read";
    }
  }
  show(top);
  if (magic == kCatalogMagic) {
    const auto catalog = decode_catalog(slot->body);
    if (!catalog) return true;
    for (const auto& [id, entry] : catalog->replicas) {
      DumpItem item;
      item.kind = "replica";
      item.fields = {{"partition", id.to_string()},
                     {"incarnation", text(entry.incarnation)},
                     {"state", entry.state == ReplicaState::kLives ? "lives" : "removing"}};
      show(item);
      for (const Hole& hole : entry.accepted) {
        DumpItem lost;
        lost.kind = "accepted-loss";
        lost.fields = {{"partition", id.to_string()},
                       {"begin", text(hole.begin.value())},
                       {"end", text(hole.end.value())}};
        show(lost);
      }
    }
  } else if (magic != kMetaMagic) {
    if (const auto content = decode_checkpoint(slot->body)) show_checkpoint(show, *content);
  }
  return true;
}

void dump_index(std::span<const std::byte> file, const DumpCallback& show) {
  DumpItem top;
  top.kind = "index";
  const auto index = decode_index(file);
  if (!index) {
    top.problem = "a checksum is wrong; it is built anew from its segment";
    return show(top);
  }
  const SegmentSummary& summary = index->summary;
  top.fields = {{"file_id", hex(summary.file_id)},
                {"base_offset", text(summary.base.value())},
                {"end_offset", text(summary.end.value())},
                {"bytes", text(summary.bytes)},
                {"max_timestamp_ms", text(summary.max_timestamp_ms)}};
  show(top);
  for (const EpochStart& epoch : summary.epochs) {
    DumpItem item;
    item.kind = "epoch";
    item.fields = {{"epoch", text(epoch.epoch.value())}, {"start", text(epoch.start.value())}};
    show(item);
  }
  for (const IndexEntry& entry : index->index.entries) {
    DumpItem item;
    item.kind = "entry";
    item.position = entry.position;
    item.fields = {{"base_offset", text(entry.base.value())},
                   {"position", text(entry.position)},
                   {"max_timestamp_ms", text(entry.max_timestamp_ms)}};
    show(item);
  }
  for (const ProducerEntry& producer : index->producers.entries()) {
    DumpItem item;
    item.kind = "producer";
    item.fields = {{"id", text(producer.id.value())},
                   {"epoch", text(producer.epoch)},
                   {"next_sequence", text(producer.next_sequence())},
                   {"last_append_time_us", text(producer.last_append_us)},
                   {"ranges", text(producer.ranges.size())}};
    show(item);
  }
}

}  // namespace

Result<> dump_file(io::FileSystem& files, const std::string& path, const DumpCallback& show) {
  std::uint32_t magic = 0;
  std::uint64_t size = 0;
  {
    TIDELOG_ASSIGN(auto file, files.open(path, {.mode = io::OpenMode::kRead, .direct = true}));
    TIDELOG_ASSIGN(size, file->size());
    FileWindow window(*file, size, io::kBlockBytes);
    TIDELOG_ASSIGN(const auto front, window.at(0, io::kBlockBytes));
    if (front.size() >= 4) magic = load_le<std::uint32_t>(front.data());
    if (magic == kSegmentMagic || path.ends_with(".log")) return dump_segment(*file, size, show);
    if (magic == kJournalMagic) return dump_journal(*file, size, show);
  }
  TIDELOG_ASSIGN(const auto content, read_whole_file(files, path, kSmallFileBytesMax));
  if (path.ends_with(".idx")) {
    dump_index(content, show);
    return {};
  }
  if (dump_slot(magic, content, show)) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is no file of Tidelog's", path));
}

}  // namespace tidelog::log
