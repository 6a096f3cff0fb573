#include "tools/bench/broker_usage.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <span>
#include <utility>

namespace tidelog::tools {
namespace {

constexpr std::chrono::seconds kAnswerMax{2};

// One metric, added up over its labels.
struct Sum {
  std::string_view name;
  double value = 0;
  bool is_there = false;
};

void add_line(std::string_view line, std::span<Sum> sums) {
  const std::size_t name_end = line.find_first_of("{ ");
  const std::size_t value_begin = line.rfind(' ');
  if (name_end == std::string_view::npos || line.starts_with('#')) return;
  for (Sum& sum : sums) {
    if (line.substr(0, name_end) != sum.name) continue;
    double value = 0;
    const std::string_view text = line.substr(value_begin + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return;
    sum.value += value;
    sum.is_there = true;
  }
}

}  // namespace

Result<BrokerUsage> usage_in_metrics(std::string_view page) {
  std::array<Sum, 4> sums{{{.name = "process_cpu_seconds_total"},
                           {.name = "process_resident_memory_bytes"},
                           {.name = "tidelog_journal_bytes_total"},
                           {.name = "tidelog_segment_bytes_total"}}};
  while (!page.empty()) {
    const std::size_t length = std::min(page.find('\n'), page.size());
    add_line(page.substr(0, length), sums);
    page.remove_prefix(std::min(length + 1, page.size()));
  }
  for (const Sum& sum : sums) {
    if (!sum.is_there) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the metrics say nothing of {}", sum.name));
    }
  }
  return BrokerUsage{.cpu_s = sums[0].value,
                     .written_bytes = static_cast<std::uint64_t>(sums[2].value + sums[3].value),
                     .memory_bytes = static_cast<std::uint64_t>(sums[1].value)};
}

Result<BrokerUsage> ask_usage(const std::vector<std::string>& admin_addresses) {
  BrokerUsage whole;
  for (const std::string& address : admin_addresses) {
    httplib::Client http("http://" + address);
    http.set_connection_timeout(kAnswerMax);
    http.set_read_timeout(kAnswerMax);
    const httplib::Result answer = http.Get("/metrics");
    if (!answer || answer->status != 200) {
      return fail(ErrorCode::kConnectionFailed,
                  fmt::format("the admin page at {} does not answer", address));
    }
    TIDELOG_ASSIGN(const BrokerUsage usage, usage_in_metrics(answer->body));
    whole.cpu_s += usage.cpu_s;
    whole.written_bytes += usage.written_bytes;
    whole.memory_bytes += usage.memory_bytes;
  }
  return whole;
}

}  // namespace tidelog::tools
