#include "log/data_directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "log/rules.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kIdCharacters = 32;
constexpr std::size_t kMetaBytes = 8 + 2 * kIdCharacters;
constexpr std::uint64_t kMarkerBytesMax = std::uint64_t{1} << 30;

bool is_id(std::string_view text) {
  return text.size() == kIdCharacters && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string without_slash_at_the_end(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

// Makes the names of `path` and of all that lies above it stable. Whoever made them may have died
// before they were; what may not be opened, or cannot be synced at all, is somebody else's.
Result<> sync_ancestors(io::FileSystem& files, std::string path) {
  for (std::string above = parent_of(path); above != path; above = parent_of(path)) {
    const auto synced = files.sync_directory(above);
    if (!synced && synced.error().code() != ErrorCode::kUnsupportedFeature) return synced;
    path = std::move(above);
  }
  return {};
}

}  // namespace

std::vector<std::byte> encode_meta(const DirectoryIdentity& identity) {
  std::vector<std::byte> body(kMetaBytes);
  store_le<std::uint32_t>(body.data(), kFormat);
  store_le<std::int32_t>(body.data() + 4, identity.broker_id);
  std::memcpy(body.data() + 8, identity.cluster_id.data(), kIdCharacters);
  std::memcpy(body.data() + 8 + kIdCharacters, identity.directory_id.data(), kIdCharacters);
  return body;
}

std::optional<DirectoryIdentity> decode_meta(std::span<const std::byte> body) {
  if (body.size() != kMetaBytes || load_le<std::uint32_t>(body.data()) != kFormat)
    return std::nullopt;
  DirectoryIdentity identity;
  identity.broker_id = load_le<std::int32_t>(body.data() + 4);
  identity.cluster_id = as_text(body.subspan(8, kIdCharacters));
  identity.directory_id = as_text(body.subspan(8 + kIdCharacters, kIdCharacters));
  return identity;
}

std::string DataPaths::journal_file(std::size_t shard, std::uint32_t number) const {
  return fmt::format("{}/{}-{}", journals(), shard, number);
}

Result<bool> holds_topics(io::FileSystem& files, const DataPaths& paths) {
  TIDELOG_ASSIGN(const auto entries, files.list(paths.root));
  return std::ranges::any_of(entries, [](const io::DirectoryEntry& entry) {
    return entry.is_directory && TopicId::parse(entry.name);
  });
}

Result<bool> needs_catalog(io::FileSystem& files, const DataPaths& paths) {
  TIDELOG_ASSIGN(const bool has_journals, files.exists(paths.journals()));
  return has_journals ? Result<bool>(true) : holds_topics(files, paths);
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::take(io::FileSystem& files,
                                                           const LogStoreOptions& options) {
  const std::string path = without_slash_at_the_end(options.path);
  std::unique_ptr<DataDirectory> directory(new DataDirectory(files, path));
  TIDELOG_ASSIGN(const bool exists, files.exists(path));
  if (!exists) TIDELOG_TRY(files.make_directories(path));
  TIDELOG_ASSIGN(directory->lock_, files.lock_directory(path));
  TIDELOG_TRY(directory->load_meta(options));
  return directory;
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::take_existing(io::FileSystem& files,
                                                                    const std::string& path) {
  std::unique_ptr<DataDirectory> directory(
      new DataDirectory(files, without_slash_at_the_end(path)));
  const std::string meta_path = directory->paths_.meta();
  TIDELOG_ASSIGN(const bool first, files.exists(meta_path + ".0"));
  TIDELOG_ASSIGN(const bool second, files.exists(meta_path + ".1"));
  TIDELOG_ASSIGN(const bool catalog, files.exists(directory->paths_.catalog() + ".0"));
  if (!first && !second && !catalog) {
    return fail(ErrorCode::kNotFound, fmt::format("{} is no data directory", path));
  }
  TIDELOG_ASSIGN(directory->lock_, files.lock_directory(directory->paths_.root));
  SlotFile meta(files, meta_path, kMetaMagic, SlotPolicy::kBoth);
  TIDELOG_ASSIGN(auto loaded, meta.load());
  std::optional<DirectoryIdentity> found;
  if (loaded.content) found = decode_meta(loaded.content->body);
  if (!found) {
    return fail(ErrorCode::kCorruptData,
                fmt::format("{} is {}: whose directory this is cannot be guessed; restore meta.0 "
                            "from a backup",
                            meta_path, first || second ? "damaged" : "missing"));
  }
  directory->problems_ = std::move(loaded.problems);
  directory->identity_ = std::move(*found);
  return directory;
}

Result<> DataDirectory::load_meta(const LogStoreOptions& options) {
  SlotFile meta(files_, paths_.meta(), kMetaMagic, SlotPolicy::kBoth);
  TIDELOG_ASSIGN(auto loaded, meta.load());
  problems_ = std::move(loaded.problems);
  std::optional<DirectoryIdentity> found;
  if (loaded.content) found = decode_meta(loaded.content->body);
  if (!found) {
    // Only a directory that never held anything may be made new: the journal and the catalog come
    // later than meta.
    TIDELOG_ASSIGN(const bool has_journal, files_.exists(paths_.journals()));
    TIDELOG_ASSIGN(const bool first_catalog, files_.exists(paths_.catalog() + ".0"));
    TIDELOG_ASSIGN(const bool second_catalog, files_.exists(paths_.catalog() + ".1"));
    TIDELOG_ASSIGN(const bool has_topics, holds_topics(files_, paths_));
    if (has_journal || has_topics || first_catalog || second_catalog || loaded.content) {
      return fail(
          ErrorCode::kCorruptData,
          fmt::format("{} is {} beside data; look at it with `tidelog log verify {}` and "
                      "restore meta.0 from a backup",
                      paths_.meta(), loaded.any_exists ? "damaged" : "missing", paths_.root));
    }
    identity_.broker_id = options.broker_id;
    identity_.cluster_id =
        options.cluster_id.empty() ? TopicId::random().to_string() : options.cluster_id;
    identity_.directory_id = TopicId::random().to_string();
    if (!is_id(identity_.cluster_id)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("cluster id '{}' is not 32 hex digits", identity_.cluster_id));
    }
    created_ = true;
    problems_.clear();  // what a crash left of a first start
    TIDELOG_TRY(sync_ancestors(files_, paths_.root));
    return meta.store(encode_meta(identity_));
  }
  if (found->broker_id != options.broker_id) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} belongs to broker {}, this is broker {}", paths_.root,
                            found->broker_id, options.broker_id));
  }
  if (!options.cluster_id.empty() && found->cluster_id != options.cluster_id) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} belongs to cluster {}, this broker to cluster {}", paths_.root,
                            found->cluster_id, options.cluster_id));
  }
  identity_ = std::move(*found);
  if (!problems_.empty()) return meta.store(encode_meta(identity_));  // both copies sound again
  return {};
}

Result<std::optional<CheckpointContent>> DataDirectory::read_marker() {
  TIDELOG_ASSIGN(const bool exists, files_.exists(paths_.clean_stop()));
  if (!exists) return std::nullopt;
  const auto file = read_whole_file(files_, paths_.clean_stop(), kMarkerBytesMax);
  const auto slot = file ? decode_slot(kCleanStopMagic, *file) : std::nullopt;
  if (!slot) {
    problems_.push_back(
        fmt::format("{} is unsound and does not count; logs are scanned", paths_.clean_stop()));
    return std::nullopt;
  }
  return decode_checkpoint(slot->body);
}

Result<> DataDirectory::remove_marker() {
  TIDELOG_ASSIGN(const bool exists, files_.exists(paths_.clean_stop()));
  if (!exists || broken(Rule::kMarkerGoesFirst)) return {};
  TIDELOG_TRY(files_.remove_file(paths_.clean_stop()));
  if (broken(Rule::kMarkerRemovalIsSynced)) return {};
  return files_.sync_directory(paths_.root);
}

Result<> DataDirectory::write_marker(const CheckpointContent& content) {
  return write_whole_file(files_, paths_.clean_stop(),
                          encode_slot(kCleanStopMagic, {1, encode_checkpoint(content)}));
}

}  // namespace tidelog::log
