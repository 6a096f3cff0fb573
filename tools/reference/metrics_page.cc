#include <fmt/format.h>

#include "broker/metrics.h"
#include "tools/reference/pages.h"

namespace tidelog::tools {
namespace {

constexpr std::string_view kBegin =
    R"(<!-- Written by `reference docs` from broker/metrics.cc; a test compares. -->
# Metrics

`http://127.0.0.1:9701/metrics` (setting `admin.listen`) answers in the Prometheus text format. Counters end in `_total` and
start at 0 with the process; units are in the names and meanings. Rates are made by the reader: produced bytes a second are
`sum(rate(tidelog_produced_bytes_total[1m]))`. Counters cost a shard one plain store each; a scrape takes no lock of the data path.

The dashboard `tools/packaging/grafana/tidelog.json` shows the most telling ones.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
)";

constexpr std::string_view kEnd = R"(
Histograms have buckets in steps of 1-2-5 from 20 µs to 10 s. `api` is the name of an API in
[wire/PROTOCOL.md](../wire/PROTOCOL.md); a fetch that waits for records counts its waiting time. Labels of `tidelog_storage_info`:
`durability` is stable, weaker (the file system may need a repair after a power cut), not_stable (nothing survives one) or
network; `file_system` its type; `io` how the journal is written.
)";

}  // namespace

std::string metrics_page() {
  std::string page(kBegin);
  for (const broker::MetricInfo& info : broker::metric_table()) {
    page += fmt::format("| `{}` | {} | {} | {} |\n", info.name, info.type,
                        info.labels.empty() ? "-" : info.labels, info.meaning);
  }
  page += kEnd;
  return page;
}

}  // namespace tidelog::tools
