// How commands reach the brokers, and how they put the client's errors into words.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tidelog/tidelog.h"
#include "tools/messages.h"

namespace tidelog::tools {

// The options of every command that talks to brokers.
struct ClusterFlags {
  std::string brokers = "127.0.0.1:9700";
  std::string profile;  // applied before the command runs
  bool is_quiet = false;

  // -b, its aliases and its environment name; --profile; -q.
  void add_to(CLI::App& command);
};

// Says once per outage that a broker cannot be reached; the client goes on trying by itself.
// Thread: any.
class OutageNotice {
 public:
  explicit OutageNotice(Messages& messages) : messages_(messages) {}
  void on_trouble(const std::string& sentence);
  // Answers arrive: the next trouble is news again.
  void on_progress() {
    if (is_told_.load(std::memory_order_relaxed)) is_told_ = false;
  }

 private:
  Messages& messages_;
  std::atomic<bool> is_told_ = false;
};

// Fails with kInvalidArgument: an empty list, or an address that is no HOST[:PORT].
// `notice` may be null; else it outlives everything made with the options.
Result<client::ConnectOptions> connect_options(const ClusterFlags& flags, OutageNotice* notice);

// "message; hint".
std::string in_words(const client::Error& error);

// The same of an error that concerns `topic`: its name stands in the hint's command.
std::string in_words(const client::Error& error, std::string_view topic);

// The topic, or a message that names the closest topics and the command that creates it.
std::optional<client::TopicDescription> find_topic(client::Admin& admin, const std::string& name,
                                                   Messages& messages);

}  // namespace tidelog::tools
