#include "tools/cluster_access.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "replication/cluster_view.h"
#include "tools/command_line.h"
#include "tools/suggestion.h"

namespace tidelog::tools {
namespace {

bool is_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) return !text.empty();
  const std::string_view port = text.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return colon > 0 && error == std::errc() && end == port.data() + port.size() && number > 0 &&
         number <= 65535;
}

bool is_code(const client::Error& error, ErrorCode code) {
  return error.code == static_cast<std::uint16_t>(code);
}

}  // namespace

void ClusterFlags::add_to(CLI::App& command) {
  command
      .add_option("-b,--brokers,--bootstrap-server", brokers,
                  "Brokers, HOST:PORT,...; one that answers is enough")
      ->type_name("HOST:PORT,...")
      ->envname("TIDELOG_BROKERS")
      ->capture_default_str();
  command
      .add_option(kProfileFlag, profile, "Profile of ~/.config/tidelog/config.toml for the flags")
      ->type_name("NAME")
      ->envname("TIDELOG_PROFILE");
  command.add_flag("-q,--quiet", is_quiet, "Say nothing but failures")->envname("TIDELOG_QUIET");
}

void OutageNotice::on_trouble(const std::string& sentence) {
  if (is_told_.exchange(true)) return;
  constexpr std::string_view kGoesOn = "; trying again";
  messages_.failure(
      fmt::format("tidelog: {}{}", sentence, sentence.ends_with(kGoesOn) ? "" : kGoesOn));
}

Result<client::ConnectOptions> connect_options(const ClusterFlags& flags, OutageNotice* notice) {
  client::ConnectOptions options;
  options.client_name = "tidelog";
  options.brokers.clear();
  std::string_view rest = flags.brokers;
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view address = rest.substr(0, comma);
    if (!is_address(address)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "--brokers: '{}' is no broker address; write HOST:PORT, such as 127.0.0.1:9700",
              address));
    }
    options.brokers.emplace_back(address);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (notice != nullptr) {
    options.log = [notice](const std::string& sentence) { notice->on_trouble(sentence); };
  }
  return options;
}

std::string in_words(const client::Error& error) {
  if (error.hint.empty()) return error.message;
  return fmt::format("{}; {}", error.message, error.hint);
}

std::string in_words(const client::Error& error, std::string_view topic) {
  constexpr std::string_view kPlaceholder = " NAME";
  if (!error.hint.ends_with(kPlaceholder)) return in_words(error);
  const std::string_view hint = error.hint;
  return fmt::format("{}; {} {}", error.message, hint.substr(0, hint.size() - kPlaceholder.size()),
                     topic);
}

std::optional<client::TopicDescription> find_topic(client::Admin& admin, const std::string& name,
                                                   Messages& messages) {
  if (const auto valid = replication::check_topic_name(name); !valid) {
    messages.failure(fmt::format("tidelog: {}", valid.error().message()));
    return std::nullopt;
  }
  auto topic = admin.describe_topic(name);
  if (topic) return std::move(topic).value();
  if (!is_code(topic.error(), ErrorCode::kUnknownTopic)) {
    messages.failure(fmt::format("tidelog: {}", in_words(topic.error())));
    return std::nullopt;
  }
  std::vector<std::string> names;
  // Without the list the sentence is still true, only less helpful.
  if (const auto topics = admin.list_topics()) {
    for (const client::TopicSummary& summary : *topics) names.push_back(summary.name);
  }
  messages.failure(
      fmt::format("tidelog: there is no topic '{}'{}\nCreate it with: tidelog topic "
                  "create {}",
                  name, did_you_mean(name, names), name));
  return std::nullopt;
}

}  // namespace tidelog::tools
