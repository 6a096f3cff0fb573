#include "tests/client/consumer_world.h"

#include "client/consumer/batch_reader.h"

namespace tidelog::client_core {

using namespace std::chrono_literals;

ConsumerWorld::ConsumerWorld(std::uint64_t seed, FetcherOptions options)
    : executor(seed), network(executor, seed * 31 + 1), broker(executor, network, kPort) {
  options.pool.seeds.insert(options.pool.seeds.begin(), {"sim", kPort});
  options.pool.log = [this](const std::string& line) { log_lines.push_back(line); };
  fetcher = std::make_unique<Fetcher>(network, executor, pool, queue, options, seed * 17 + 3);
  queue.on_drained([this] {
    executor.post([this] {
      if (fetcher) fetcher->pump();
    });
  });
}

ConsumerWorld::~ConsumerWorld() {
  fetcher->shut_down();
  fetcher.reset();
  broker.stop();
  executor.run_for(1s);  // what was posted last owns connections
}

Result<> ConsumerWorld::assign(std::vector<client::Assignment> assignments) {
  std::optional<Result<>> done;
  fetcher->assign(std::move(assignments), [&](Result<> result) { done = std::move(result); });
  executor.run_until([&] { return done.has_value(); }, 120s);
  return done.value_or(fail(ErrorCode::kInternal, "assign never ended"));
}

Result<> ConsumerWorld::seek(const std::string& topic, std::int32_t partition,
                             client::Position position) {
  std::optional<Result<>> done;
  fetcher->seek(topic, partition, position, [&](Result<> result) { done = std::move(result); });
  executor.run_until([&] { return done.has_value(); }, 120s);
  return done.value_or(fail(ErrorCode::kInternal, "seek never ended"));
}

Result<ResolvedOffset> ConsumerWorld::resolve(const std::string& topic, client::Position position) {
  std::optional<Result<ResolvedOffset>> done;
  fetcher->resolve(topic, 0, position,
                   [&](Result<ResolvedOffset> result) { done = std::move(result); });
  executor.run_until([&] { return done.has_value(); }, 120s);
  return done.value_or(fail(ErrorCode::kInternal, "resolve never ended"));
}

void ConsumerWorld::take() {
  while (auto fetched = queue.pop(std::chrono::steady_clock::time_point::min())) {
    if (auto* error = std::get_if<client::PartitionError>(&fetched->content)) {
      errors.push_back(std::move(*error));
      continue;
    }
    const std::int64_t position = queue.position(*fetched->cursor);
    auto reader = BatchReader::open(std::get<SharedBytes>(fetched->content), pool, 1 << 26);
    ASSERT_TRUE(reader.has_value()) << reader.error().to_string();
    while (reader->has_next()) {
      const auto record = reader->next();
      ASSERT_TRUE(record.has_value());
      if (reader->offset() < position) continue;
      values.emplace_back(*(*record)->value);
      offsets.push_back(reader->offset());
    }
    queue.advance(*fetched, reader->next_offset());
    queue.finish(*fetched);
  }
}

bool ConsumerWorld::take_until(std::size_t count, std::chrono::seconds limit) {
  return executor.run_until(
      [&] {
        take();
        return values.size() >= count;
      },
      limit);
}

bool ConsumerWorld::take_error(std::chrono::seconds limit) {
  return executor.run_until(
      [&] {
        take();
        return !errors.empty();
      },
      limit);
}

std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> values;
  for (int i = from; i < to; ++i) values.push_back(std::to_string(i));
  return values;
}

}  // namespace tidelog::client_core
