#include "tools/bench/report.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/json_text.h"
#include "tools/quantity.h"

namespace tidelog::tools {
namespace {

nlohmann::ordered_json quantiles_of(const LatencyHistogram& latencies) {
  if (latencies.count() == 0) return nullptr;
  const auto us = [](std::chrono::nanoseconds time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  };
  return {{"p50", us(latencies.at(0.5))},
          {"p90", us(latencies.at(0.9))},
          {"p99", us(latencies.at(0.99))},
          {"p999", us(latencies.at(0.999))},
          {"max", us(latencies.max())}};
}

std::string line_of(std::string_view name, const LatencyHistogram& latencies) {
  if (latencies.count() == 0) return "";
  const auto us = [&latencies](double quantile) {
    return static_cast<double>(latencies.at(quantile).count()) / 1e3;
  };
  return fmt::format(
      "{:<17} p50 {:.0f} us, p90 {:.0f} us, p99 {:.0f} us, p99.9 {:.0f} us, max {:.0f} us\n", name,
      us(0.5), us(0.9), us(0.99), us(0.999), us(1));
}

}  // namespace

std::string Report::as_json() const {
  nlohmann::ordered_json broker = nullptr;
  if (usage) {
    broker = {{"cpu_s", usage->cpu_s},
              {"written_bytes", usage->written_bytes},
              {"memory_bytes", usage->memory_bytes}};
  }
  const nlohmann::ordered_json whole{{"records", result.records},
                                     {"record_bytes", record_bytes()},
                                     {"seconds", result.seconds},
                                     {"offered_per_s", rate},
                                     {"achieved_per_s", achieved_per_s()},
                                     {"mb_per_s", megabytes_per_s()},
                                     {"errors", result.errors},
                                     {"client_cpu_s", result.client_cpu_s},
                                     {"latency_us", quantiles_of(result.acknowledgement)},
                                     {"end_to_end_us", quantiles_of(result.end_to_end)},
                                     {"broker", std::move(broker)}};
  return json_text(whole, -1) + "\n";
}

std::string Report::in_words() const {
  const double gigabytes = static_cast<double>(result.bytes) / 1e9;
  const auto per_gb = [gigabytes](double amount) { return gigabytes > 0 ? amount / gigabytes : 0; };
  std::string text = fmt::format(
      "{} {} of {} B in {:.2f} s: {}/s, {:.1f} MB/s", verb,
      counted(static_cast<std::uint64_t>(result.records), "record"), record_bytes(), result.seconds,
      with_commas(static_cast<std::uint64_t>(achieved_per_s())), megabytes_per_s());
  if (rate > 0) text += fmt::format("; offered {:.0f}/s", rate);
  text += "\n" + line_of("acknowledgement", result.acknowledgement) +
          line_of("to consumers", result.end_to_end);
  text += fmt::format("{:<17} {:.2f} s, {:.2f} s per GB\n", "client CPU", result.client_cpu_s,
                      per_gb(result.client_cpu_s));
  if (usage) {
    text += fmt::format("{:<17} {:.2f} s, {:.2f} s per GB; wrote {}, has {} of memory\n",
                        "broker CPU", usage->cpu_s, per_gb(usage->cpu_s),
                        byte_amount(usage->written_bytes), byte_amount(usage->memory_bytes));
  }
  return text;
}

}  // namespace tidelog::tools
