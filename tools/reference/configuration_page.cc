#include <fmt/format.h>

#include "broker/settings.h"
#include "replication/cluster_view.h"
#include "tools/reference/pages.h"

namespace tidelog::tools {
namespace {

constexpr std::string_view kBegin =
    R"(<!-- Written by `reference docs` from broker/settings.cc and replication/topic_settings.cc; a test compares. -->
# Settings

## Of a broker

A flag beats the environment beats the settings file beats the default. Flags are `--set NAME=VALUE`; `--data`, `--id`,
`--listen`, `--admin` and `--shards` are short for five of them. The file is TOML, named by `--config`; `a.b = 1` and a table
`[a]` with `b = 1` are the same. The package reads `/etc/tidelog/broker.toml`. Names that nobody knows are refused, with the
closest ones. Sizes may be written with KiB, MiB, GiB.

`tidelog cluster config` shows the values of a running broker and where each came from; those marked *live* can be changed
there while it runs, until the next restart: `tidelog cluster config --set log.level=debug`.

| Setting | Environment | Type | Default | Live | Meaning |
|---|---|---|---|---|---|
)";

constexpr std::string_view kTopics = R"(
## Of a topic

Given when a topic is made: `tidelog topic create NAME --set segment.bytes=64MiB`; `tidelog topic describe NAME` shows them.
They have the names that the Apache Kafka broker uses, where they mean the same.

| Setting | Type | Default | Meaning |
|---|---|---|---|
)";

// A bar would end the cell.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string code(std::string_view text) {
  return text.empty() ? "-" : fmt::format("`{}`", cell(text));
}

}  // namespace

std::string configuration_page() {
  std::string page(kBegin);
  for (const broker::SettingInfo& info : broker::setting_table()) {
    page += fmt::format(
        "| `{}` | `{}` | {} | {} | {} | {} |\n", info.name, broker::environment_name(info.name),
        cell(info.type), code(info.default_value),
        info.change == broker::SettingChange::kLive ? "live" : "restart", cell(info.meaning));
  }
  page += kTopics;
  for (const replication::TopicSettingInfo& info : replication::topic_setting_table()) {
    page += fmt::format("| `{}` | {} | {} | {} |\n", info.name, cell(info.type),
                        code(info.default_value), cell(info.meaning));
  }
  return page;
}

}  // namespace tidelog::tools
