// tidelog_requests HOST:PORT: produce requests of one batch each over one connection, made before
// the clock runs, so that the broker is measured and not the client library.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>

#include "bench/requests/broker_connection.h"
#include "bench/requests/produce_requests.h"
#include "bench/support.h"
#include "wire/limits.h"

int main(int argc, char** argv) {
  using namespace tidelog;  // NOLINT(google-build-using-namespace)
  CLI::App app("Sends produce requests of one batch each over one connection, and prints JSON");
  std::string address;
  std::string topic;
  std::size_t batch_bytes = 1024;
  bench::RequestLoad load;
  app.add_option("HOST:PORT", address, "Of the broker, IPv4")->required();
  app.add_option("--topic", topic, "Exists; its partitions are written to in turn")->required();
  app.add_option("--batch-bytes", batch_bytes, "Of each request's batch")
      ->check(CLI::Range(std::size_t{200}, wire::kBatchBytesMax))
      ->capture_default_str();
  app.add_option("--outstanding", load.outstanding, "Requests without an answer, at most")
      ->check(CLI::Range(std::size_t{1}, std::size_t{wire::kRequestsInFlightMax}))
      ->capture_default_str();
  app.add_option("--rate", load.rate, "Requests a second, when they are due (0: with each answer)")
      ->check(CLI::Range(0.0, 1e8))
      ->capture_default_str();
  app.add_option("--seconds", load.seconds, "How long")
      ->check(CLI::Range(0.01, 600.0))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  bench::BrokerConnection connection(address);
  const std::vector<TopicPartition> partitions = connection.partitions_of(topic);
  bench::ProduceRequests requests(partitions, batch_bytes, load.outstanding);
  bench::RequestResult result = bench::run_requests(connection.socket(), requests, load);
  const auto latency = [&](double q) { return bench::quantile_of(result.latencies_us, q); };
  const double bytes = static_cast<double>(result.requests * requests.batch_bytes());
  const nlohmann::ordered_json report = {{"requests", result.requests},
                                         {"batch_bytes", requests.batch_bytes()},
                                         {"partitions", partitions.size()},
                                         {"seconds", result.seconds},
                                         {"offered_per_s", load.rate},
                                         {"achieved_per_s", result.per_s()},
                                         {"mb_per_s", bytes / 1e6 / result.seconds},
                                         {"client_cpu_s", result.client_cpu_s},
                                         {"latency_us",
                                          {{"p50", latency(0.5)},
                                           {"p90", latency(0.9)},
                                           {"p99", latency(0.99)},
                                           {"p999", latency(0.999)},
                                           {"max", latency(1)}}}};
  fmt::print("{}\n", report.dump());
  return 0;
}
