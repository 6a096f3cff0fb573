#include "broker/settings_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <system_error>

namespace tidelog::broker {
namespace {

// A settings file beyond this is something else.
constexpr std::size_t kFileBytesMax = 1 << 20;

Result<std::string> read_text(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  if (!file) {
    return fail(ErrorCode::kNotFound, fmt::format("cannot read settings file {}: {}", path,
                                                  std::generic_category().message(errno)));
  }
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) {
    return fail(ErrorCode::kNotFound, fmt::format("cannot read settings file {}: {}", path,
                                                  std::generic_category().message(errno)));
  }
  if (text.size() > kFileBytesMax) {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("{} is larger than {} bytes: no settings file", path, kFileBytesMax));
  }
  return text;
}

// The value as a flag would give it; nullopt for a type that no setting has.
std::optional<std::string> plain(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  return std::nullopt;
}

// The items of a list; nullopt where one is of a type that no setting has.
std::optional<std::vector<std::string>> plain_items(const toml::array& list) {
  std::vector<std::string> items;
  for (const toml::node& node : list) {
    std::optional<std::string> item = plain(node);
    if (!item) return std::nullopt;
    items.push_back(std::move(*item));
  }
  return items;
}

Result<> flatten(const std::string& path, const std::string& prefix, const toml::table& table,
                 Lists lists, std::vector<FileSetting>& into) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix.empty() ? std::string(key.str())
                                            : fmt::format("{}.{}", prefix, std::string(key.str()));
    if (const auto* inner = node.as_table()) {
      TIDELOG_TRY(flatten(path, name, *inner, lists, into));
      continue;
    }
    const unsigned line = key.source().begin.line;
    const toml::array* list = lists == Lists::kTake ? node.as_array() : nullptr;
    auto items = list != nullptr ? plain_items(*list) : std::nullopt;
    std::optional<std::string> value = items ? "" : plain(node);
    if (!value) {
      return fail(ErrorCode::kInvalidSetting,
                  fmt::format("{}:{}: the value of '{}' is neither text, whole number nor boolean",
                              path, line, name));
    }
    into.push_back({name, std::move(*value), line, std::move(items)});
  }
  return {};
}

}  // namespace

Result<std::vector<FileSetting>> read_settings_file(const std::string& path, Lists lists) {
  TIDELOG_ASSIGN(const std::string text, read_text(path));
  std::vector<FileSetting> settings;
  try {
    TIDELOG_TRY(flatten(path, "", toml::parse(text, path), lists, settings));
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("{}:{}: {}", path, error.source().begin.line,
                            std::string(error.description())));
  }
  std::ranges::sort(settings, {}, &FileSetting::line);
  return settings;
}

}  // namespace tidelog::broker
