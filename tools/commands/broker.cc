// tidelog broker: one broker in the foreground.
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/broker.h"
#include "broker/settings.h"
#include "tools/commands/commands.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/service_notify.h"

namespace tidelog::tools {
namespace {

struct BrokerOptions {
  std::optional<std::string> data;
  std::optional<std::string> id;
  std::optional<std::string> listen;
  std::optional<std::string> admin;
  std::optional<std::string> shards;
  std::string config;
  std::vector<std::string> settings;
  bool prints_settings = false;
  bool is_json = false;
};

Result<broker::SettingSources> sources_of(const BrokerOptions& options) {
  broker::SettingSources sources;
  sources.environment = broker::process_environment();
  sources.file = options.config;
  for (const std::string& pair : options.settings) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--set '{}' is no key=value, such as log.level=debug", pair));
    }
    sources.flags.push_back({.name = pair.substr(0, equals), .value = pair.substr(equals + 1)});
  }
  struct Flag {
    const char* flag;
    const char* setting;
    const std::optional<std::string>& value;
  };
  for (const Flag& one :
       {Flag{"--data", "data.dir", options.data}, Flag{"--id", "broker.id", options.id},
        Flag{"--listen", "listen", options.listen}, Flag{"--admin", "admin.listen", options.admin},
        Flag{"--shards", "shards", options.shards}}) {
    if (!one.value) continue;
    if (std::ranges::find(sources.flags, one.setting, &broker::FlagSetting::name) !=
        sources.flags.end()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{0} and --set {1} both say {1}; use one", one.flag, one.setting));
    }
    sources.flags.push_back({.name = one.setting, .value = *one.value, .flag = one.flag});
  }
  return sources;
}

// For the person at the terminal; scripts read the log lines.
void greet(const broker::Broker& broker, const broker::BrokerSettings& settings) {
  if (isatty(STDERR_FILENO) == 0) return;
  const std::string address = broker.address();
  const std::string brokers = address == "127.0.0.1:9700" ? "" : " -b " + address;
  const std::string admin =
      settings.admin_listen
          ? fmt::format("http://{}:{}/metrics", settings.admin_listen->host, broker.admin_port())
          : "off";
  print_error_text(
      fmt::format("\n"
                  "  Tidelog {} is ready.\n"
                  "    clients   {}\n"
                  "    metrics   {}\n"
                  "    data      {}\n"
                  "  Try in another terminal:\n"
                  "    tidelog topic create events{}\n"
                  "    echo hello | tidelog produce events{}\n"
                  "    tidelog consume events{}\n"
                  "  Ctrl-C stops the broker cleanly.\n\n",
                  TIDELOG_VERSION, address, admin, settings.data_dir, brokers, brokers, brokers));
}

// Hands Ctrl-C and SIGTERM to the broker while it runs.
class StopOnInterrupt {
 public:
  explicit StopOnInterrupt(broker::Broker& broker) : watcher_([this, &broker] { watch(broker); }) {}
  ~StopOnInterrupt() {
    finished_.set();
    watcher_.join();
  }
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;

 private:
  void watch(broker::Broker& broker) {
    std::array<pollfd, 2> waits{{{interrupt_event().fd(), POLLIN, 0}, {finished_.fd(), POLLIN, 0}}};
    while (!finished_.is_set()) {
      poll(waits.data(), waits.size(), -1);
      if (!interrupt_event().is_set()) continue;
      if (isatty(STDERR_FILENO) == 1) {
        print_error_text(
            "\nStopping; a second Ctrl-C ends it at once, and the next start recovers.\n");
      }
      notify_service_manager("STOPPING=1");
      broker.request_stop();
      return;
    }
  }

  StopEvent finished_;
  std::thread watcher_;
};

// What to do about a broker that does not start; the table's sentences are for who connects, and
// for a disk that was sound until now.
std::string_view start_hint(const Error& error) {
  if (error.code() == ErrorCode::kConnectionFailed) {
    return "choose other addresses with --listen and --admin, or stop what listens there";
  }
  if (error.code() == ErrorCode::kStorageFailed) {
    return "see that the data directory may be written by this user (under systemd also by "
           "ReadWritePaths=), and that its disk is sound";
  }
  return error.info().hint;
}

int report(const Error& error, std::string_view hint, LogFormat format = LogFormat::kText) {
  const std::string sentence =
      fmt::format("{}{}{}", error.message(), hint.empty() ? "" : "; ", hint);
  if (format == LogFormat::kJson) {
    log_error(sentence, {{"error", std::string(error.info().name)}});
    stop_logging();
  } else {
    stop_logging();
    print_error_text(fmt::format("tidelog broker: {}\n", sentence));
  }
  return error.code() == ErrorCode::kInvalidSetting ? kExitUsage : kExitFailed;
}

Result<int> print_settings(bool is_json) {
  Output out(STDOUT_FILENO);
  out.text() = is_json ? broker::setting_table_json() : broker::setting_table_text();
  if (!out.text().ends_with('\n')) out.text() += '\n';
  TIDELOG_TRY(out.flush());
  return kExitDone;
}

// Each partition in use keeps a file open, each client a socket or two: shells commonly allow 1,024
// unless asked.
void allow_many_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    log_warning("the limit of open files could not be raised; many partitions may need more");
  }
}

Result<int> run_broker(const BrokerOptions& options) {
  if (options.prints_settings) return print_settings(options.is_json);
  if (options.is_json) {
    return fail(ErrorCode::kInvalidArgument, "--json belongs to --settings");
  }
  TIDELOG_ASSIGN(const broker::SettingSources sources, sources_of(options));
  const auto settings = broker::load_broker_settings(sources);
  if (!settings) return report(settings.error(), settings.error().info().hint);
  // Recovery takes what the disk needs; whoever does not want to wait may end it as a crash would.
  end_by_signals();
  start_logging(settings->log_level, settings->log_format);
  allow_many_files();
  auto broker = broker::Broker::start(*settings);
  if (!broker) return report(broker.error(), start_hint(broker.error()), settings->log_format);
  interrupt_event();
  notify_service_manager("READY=1");
  greet(**broker, *settings);
  Result<> ended;
  {
    const StopOnInterrupt watcher(**broker);
    ended = (*broker)->run_until_stopped();
  }
  broker->reset();
  if (!ended) return report(ended.error(), ended.error().info().hint, settings->log_format);
  stop_logging();
  const bool is_ctrl_c = interrupt_event().is_set() && interrupt_exit_code() == 130;
  return is_ctrl_c ? interrupt_exit_code() : kExitDone;
}

}  // namespace

void add_broker_command(CommandLine& line) {
  const auto options = std::make_shared<BrokerOptions>();
  CLI::App* command = line.add_command(
      line.root(), "broker", "Run a broker here, until Ctrl-C or SIGTERM",
      "  tidelog broker\n"
      "  tidelog broker --data /var/lib/tidelog --listen 0.0.0.0:9700 --set log.level=warning\n"
      "  tidelog broker --settings\n"
      "Settings come from flags, then TIDELOG_<SETTING> (TIDELOG_DATA_DIR for data.dir), then the\n"
      "file, then the defaults. Exit codes: 0 after SIGTERM, 130 after Ctrl-C, 1 otherwise.\n"
      "While it still recovers its data, signals end it at once, and the next start goes on.",
      [options] { return run_broker(*options); });
  command
      ->add_option("--data", options->data, "Directory of all data (data.dir) [TIDELOG_DATA_DIR]")
      ->type_name("DIR");
  command->add_option("--id", options->id, "Number of this broker (broker.id) [TIDELOG_BROKER_ID]")
      ->type_name("N");
  command
      ->add_option("--listen", options->listen, "Where clients connect (listen) [TIDELOG_LISTEN]")
      ->type_name("HOST:PORT");
  command
      ->add_option("--admin", options->admin,
                   "Where health and metrics answer, or off (admin.listen) [TIDELOG_ADMIN_LISTEN]")
      ->type_name("HOST:PORT");
  command->add_option("--shards", options->shards, "Threads that serve (shards) [TIDELOG_SHARDS]")
      ->type_name("N");
  command->add_option("--config", options->config, "Settings file, TOML")->type_name("FILE");
  add_repeated(*command, "--set", options->settings, "Any setting; may be repeated")
      ->type_name("KEY=VALUE");
  command->add_flag("--settings", options->prints_settings,
                    "Print all settings with type, default and meaning, and exit");
  command->add_flag("--json", options->is_json, "With --settings: print JSON");
}

}  // namespace tidelog::tools
