#include "log/slot_file.h"

#include <fmt/core.h>

#include <utility>

#include "base/bytes.h"
#include "base/checksum.h"
#include "log/io/storage_error.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {
constexpr std::uint8_t kVersion = 1;
constexpr std::uint64_t kSlotBytesMax = std::uint64_t{1} << 30;
// Far above what can be counted up to; a copy beyond could not be outnumbered by the next one.
constexpr std::uint64_t kGenerationMax = std::uint64_t{1} << 62;

Result<std::vector<std::byte>> read_open_file(io::File& file, std::uint64_t bytes_max) {
  TIDELOG_ASSIGN(const std::uint64_t size, file.size());
  if (size > bytes_max) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} has {} bytes, more than {}", file.path(), size, bytes_max));
  }
  std::vector<std::byte> content(static_cast<std::size_t>(size));
  TIDELOG_ASSIGN(const std::size_t read, file.read_at(FilePosition(0), content));
  content.resize(read);
  return content;
}

}  // namespace

std::string parent_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::vector<std::byte> encode_slot(std::uint32_t magic, const SlotContent& content) {
  std::vector<std::byte> file(kSlotHeaderBytes);
  store_le<std::uint32_t>(file.data(), magic);
  store_le<std::uint8_t>(file.data() + 4, kVersion);
  store_le<std::uint64_t>(file.data() + 8, content.generation);
  store_le<std::uint64_t>(file.data() + 16, content.body.size());
  store_le<std::uint64_t>(file.data() + 24, xxh3_64(content.body));
  store_le<std::uint64_t>(file.data() + 32, xxh3_64(std::span(file).first(32)));
  file.insert(file.end(), content.body.begin(), content.body.end());
  return file;
}

std::optional<SlotContent> decode_slot(std::uint32_t magic, std::span<const std::byte> file) {
  if (file.size() < kSlotHeaderBytes || load_le<std::uint32_t>(file.data()) != magic ||
      load_le<std::uint8_t>(file.data() + 4) != kVersion ||
      load_le<std::uint64_t>(file.data() + 32) != xxh3_64(file.first(32))) {
    return std::nullopt;
  }
  const auto length = load_le<std::uint64_t>(file.data() + 16);
  if (length > file.size() - kSlotHeaderBytes) return std::nullopt;
  if (load_le<std::uint64_t>(file.data() + 8) > kGenerationMax) return std::nullopt;
  const auto body = file.subspan(kSlotHeaderBytes, static_cast<std::size_t>(length));
  if (load_le<std::uint64_t>(file.data() + 24) != xxh3_64(body)) return std::nullopt;
  return SlotContent{load_le<std::uint64_t>(file.data() + 8), {body.begin(), body.end()}};
}

Result<std::vector<std::byte>> read_whole_file(io::FileSystem& files, const std::string& path,
                                               std::uint64_t bytes_max) {
  TIDELOG_ASSIGN(auto file, files.open(path, {.mode = io::OpenMode::kRead, .direct = false}));
  return read_open_file(*file, bytes_max);
}

Result<> write_whole_file(io::FileSystem& files, const std::string& path,
                          std::span<const std::byte> content) {
  TIDELOG_ASSIGN(const bool exists, files.exists(path));
  TIDELOG_ASSIGN(auto file,
                 files.open(path, {.mode = exists ? io::OpenMode::kWrite : io::OpenMode::kCreate,
                                   .direct = false}));
  TIDELOG_TRY(file->write_at(FilePosition(0), content));
  TIDELOG_ASSIGN(const std::uint64_t size, file->size());
  if (size != content.size()) TIDELOG_TRY(file->truncate(content.size()));
  if (!broken(Rule::kSmallFilesAreSynced)) TIDELOG_TRY(file->sync_data());
  if (exists || broken(Rule::kSmallFilesAreNamed)) return {};
  auto named = files.sync_directory(parent_of(path));
  // Tried again where only a descriptor was missing: then the name must be as new as it is now.
  if (!named && !io::is_final(named.error())) TIDELOG_TRY(files.remove_file(path));
  return named;
}

std::string SlotFile::slot_path(int slot) const { return fmt::format("{}.{}", path_, slot); }

Result<SlotFile::Loaded> SlotFile::load() {
  Loaded loaded;
  for (int slot = 0; slot < 2; ++slot) {
    const std::string path = slot_path(slot);
    TIDELOG_ASSIGN(const bool exists, files_.exists(path));
    if (!exists) continue;
    loaded.any_exists = true;
    TIDELOG_ASSIGN(auto open, files_.open(path, {.mode = io::OpenMode::kRead, .direct = false}));
    const auto file = read_open_file(*open, kSlotBytesMax);
    if (!file) {
      unreadable_[static_cast<std::size_t>(slot)] = true;
      loaded.problems.push_back(fmt::format("{} cannot be read ({}); its other copy counts", path,
                                            file.error().message()));
      continue;
    }
    auto content = decode_slot(magic_, *file);
    if (!content) {
      loaded.problems.push_back(
          fmt::format("{} is unsound (torn by a crash, or damaged); its other copy counts", path));
      continue;
    }
    if (!loaded.content || content->generation > loaded.content->generation) {
      loaded.content = std::move(content);
      next_slot_ = 1 - slot;
    }
  }
  if (!loaded.any_exists) return loaded;
  if (loaded.content) {
    generation_ = loaded.content->generation;
    TIDELOG_ASSIGN(auto file, files_.open(slot_path(1 - next_slot_),
                                          {.mode = io::OpenMode::kRead, .direct = false}));
    if (!broken(Rule::kFoundCopyIsSynced)) TIDELOG_TRY(file->sync_data());
  }
  TIDELOG_TRY(files_.sync_directory(parent_of(path_)));
  return loaded;
}

Result<> SlotFile::write_slot(int slot, std::span<const std::byte> file) {
  // A small write into a block that cannot be read may need to read it: it gets another place.
  if (std::exchange(unreadable_[static_cast<std::size_t>(slot)], false)) {
    TIDELOG_TRY(files_.remove_file(slot_path(slot)));
  }
  return write_whole_file(files_, slot_path(slot), file);
}

Result<> SlotFile::store(std::span<const std::byte> body) {
  const auto file = encode_slot(magic_, {generation_ + 1, {body.begin(), body.end()}});
  TIDELOG_TRY(write_slot(next_slot_, file));
  if (policy_ == SlotPolicy::kBoth || !broken(Rule::kOlderCopyGoes)) next_slot_ = 1 - next_slot_;
  ++generation_;
  if (policy_ == SlotPolicy::kBoth) {
    TIDELOG_TRY(write_slot(next_slot_, file));
    next_slot_ = 1 - next_slot_;
  }
  return {};
}

}  // namespace tidelog::log
