#include "client/consumer/fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/public_error.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {

constexpr int kOpenFetches = 2;
// A change (a seek) need not wait for a parked fetch; but not any number of them may be sent ahead.
constexpr int kOpenFetchesWithChanges = 4;
// A session whose position is not ours is told where to go this often, before that is an error.
constexpr int kGapsMax = 3;
// Below this, fetching waits until more was polled; many small answers cost more than they bring.
constexpr std::size_t kUsefulFetchBytes = 64 * 1024;

// What a batch costs: its bytes; or its share of the answer's buffer where most of that holds no
// batches, as with a few records in the smallest buffer there is.
std::size_t memory_of(const SharedBytes& batch, std::size_t answer_bytes) {
  const std::size_t held = batch.held_bytes();
  if (answer_bytes >= held / 2) return batch.size();
  return (batch.size() * held + answer_bytes - 1) / answer_bytes;
}

}  // namespace

// One assigned partition.
struct Fetcher::Reading {
  std::string topic_name;
  PartitionIndex partition;
  TopicId topic;
  std::shared_ptr<ReadCursor> cursor;
  std::uint64_t generation = 0;
  std::int64_t next = 0;       // offset of the next record to fetch
  LeaderEpoch last_epoch{-1};  // of the record before, once one was read
  LeaderEpoch leader_epoch{-1};
  bool stopped = false;        // by an error, until it is sought
  std::optional<BrokerId> at;  // whose session it is in, or will be
  bool unsent = false;         // the session does not know `next` yet
  std::uint64_t set_by = 0;    // number of the fetch that told it; earlier ones may be of before
  SteadyTime not_before{};
  std::uint64_t metadata_after = 0;
  int refusals = 0;  // in a row
  int gaps = 0;      // in a row

  TopicPartition id() const { return {topic, partition}; }
  std::string place() const {
    return fmt::format("topic '{}' partition {}", topic_name, partition.value());
  }
};

struct Fetcher::BrokerSession {
  BrokerId broker;
  std::uint64_t serial = 0;       // of the connection it lives on
  std::uint64_t session = 0;      // 0: not open
  std::uint64_t epoch = 0;        // answers of earlier ones are stale
  std::uint64_t next_number = 1;  // of fetches
  int open_fetches = 0;
  std::map<TopicPartition, Reading*> readings;
  std::vector<TopicPartition> forgotten;
  SteadyTime not_before{};
};

Fetcher::Fetcher(wire::Network& network, Executor& executor, std::shared_ptr<BufferPool> buffers,
                 PrefetchQueue& queue, FetcherOptions options, std::uint64_t seed)
    : executor_(executor),
      buffers_(std::move(buffers)),
      queue_(queue),
      options_(std::move(options)),
      random_(seed),
      pool_(network, executor, *buffers_, options_.pool, random_.next()),
      metadata_(executor, pool_,
                {.request_timeout = options_.request_timeout,
                 .backoff_min = options_.pool.backoff_min,
                 .backoff_max = options_.pool.backoff_max},
                random_.next()),
      resolver_(executor, pool_, metadata_, buffers_,
                {.timeout = options_.request_timeout,
                 .backoff_min = options_.pool.backoff_min,
                 .backoff_max = options_.pool.backoff_max,
                 .uncompressed_bytes_max = options_.uncompressed_batch_bytes_max},
                random_.next()) {
  pool_.on_change([this] {
    metadata_.advance();
    resolver_.advance();
    pump();
  });
  metadata_.on_update([this] {
    resolver_.advance();
    pump();
  });
}

Fetcher::~Fetcher() { executor_.cancel(timer_); }

void Fetcher::assign(std::vector<client::Assignment> assignments, Done done) {
  struct Pending {
    std::vector<client::Assignment> assignments;
    std::vector<ResolvedOffset> positions;
    std::size_t left;
    std::optional<Error> error;
    Done done;
  };
  const std::size_t count = assignments.size();
  auto pending = std::make_shared<Pending>(Pending{
      std::move(assignments), std::vector<ResolvedOffset>(count), count, {}, std::move(done)});
  const auto finish = [this, pending] {
    if (pending->error) return pending->done(fail(*pending->error));
    assign_resolved(pending->assignments, pending->positions);
    pending->done({});
  };
  if (count == 0) return finish();
  for (std::size_t i = 0; i < count; ++i) {
    const client::Assignment& one = pending->assignments[i];
    resolver_.resolve(one.topic, one.partition, one.position,
                      [pending, finish, i](Result<ResolvedOffset> resolved) {
                        if (resolved) {
                          pending->positions[i] = *resolved;
                        } else if (!pending->error) {
                          pending->error = resolved.error();
                        }
                        if (--pending->left == 0) finish();
                      });
  }
}

void Fetcher::assign_resolved(const std::vector<client::Assignment>& assignments,
                              const std::vector<ResolvedOffset>& positions) {
  for (auto& [name, reading] : readings_) {
    leave_session(*reading);
    queue_.retire(*reading->cursor);
  }
  readings_.clear();
  for (std::size_t i = 0; i < assignments.size(); ++i) {
    const client::Assignment& one = assignments[i];
    auto& reading = readings_[{one.topic, one.partition}];
    if (!reading) {
      reading = std::make_unique<Reading>();
      reading->topic_name = one.topic;
      reading->partition = PartitionIndex(one.partition);
      reading->cursor = std::make_shared<ReadCursor>(one.topic, one.partition);
    }
    restart(*reading, positions[i]);
  }
  pump();
}

void Fetcher::restart(Reading& reading, const ResolvedOffset& position) {
  leave_session(reading);
  reading.topic = position.topic;
  reading.next = position.offset.value_or(position.end);
  reading.last_epoch = LeaderEpoch(-1);
  reading.stopped = false;
  reading.not_before = {};
  reading.metadata_after = 0;
  reading.refusals = 0;
  reading.gaps = 0;
  reading.generation = queue_.restart(*reading.cursor, reading.next);
}

void Fetcher::seek(const std::string& topic, std::int32_t partition, client::Position position,
                   Done done) {
  resolver_.resolve(topic, partition, position,
                    [this, name = Name(topic, partition),
                     done = std::move(done)](Result<ResolvedOffset> resolved) mutable {
                      if (!resolved) return done(fail(resolved.error()));
                      const auto at = readings_.find(name);
                      if (at == readings_.end()) {
                        return done(fail(ErrorCode::kInvalidArgument,
                                         fmt::format("topic '{}' partition {} is not assigned",
                                                     name.first, name.second)));
                      }
                      restart(*at->second, *resolved);
                      pump();
                      done({});
                    });
}

std::shared_ptr<ReadCursor> Fetcher::cursor(const std::string& topic,
                                            std::int32_t partition) const {
  const auto at = readings_.find({topic, partition});
  return at != readings_.end() ? at->second->cursor : nullptr;
}

bool Fetcher::stop(const Fetched& fetched, std::int64_t position) {
  // Generations change on this thread only, so what is current stays so until the end of this.
  if (!queue_.is_current(fetched)) return false;
  const auto at = readings_.find({fetched.cursor->topic, fetched.cursor->partition});
  if (at == readings_.end()) return false;
  at->second->stopped = true;
  leave_session(*at->second);
  at->second->generation = queue_.restart(*fetched.cursor, position);
  return true;
}

void Fetcher::shut_down() {
  if (shut_down_) return;
  shut_down_ = true;
  executor_.cancel(std::exchange(timer_, 0));
  const Error reason(ErrorCode::kCancelled, "the consumer was closed");
  resolver_.cancel_all(reason);
  pool_.shut_down(reason);
}

void Fetcher::pump() {
  if (shut_down_) return;
  wake_at_.reset();
  const SteadyTime now = executor_.clock().now();
  place_readings(now);
  for (auto& [broker, session] : sessions_) serve(broker, *session, now);
  arm_timer(now);
}

void Fetcher::place_readings(SteadyTime now) {
  const bool all = std::exchange(answers_seen_, metadata_.answers()) != metadata_.answers();
  for (auto& [name, reading] : readings_) {
    if (!reading->stopped && (all || !reading->at)) place(*reading, now);
  }
}

bool Fetcher::place(Reading& reading, SteadyTime now) {
  const Topic* topic = metadata_.find(reading.topic_name);
  if (topic == nullptr || topic->as_of <= reading.metadata_after) {
    metadata_.want(reading.topic_name);
    return false;
  }
  if (topic->error) {
    if (topic->error->code() != ErrorCode::kUnknownTopic && topic->error->retriable()) return false;
    stop_with(reading, *topic->error, std::nullopt);
    return false;
  }
  if (topic->id != reading.topic) {
    stop_with(reading,
              Error(ErrorCode::kUnknownTopic,
                    fmt::format("topic '{}' was deleted and made again; seek to read the new one",
                                reading.topic_name)),
              0);
    return false;
  }
  const auto index = static_cast<std::size_t>(reading.partition.value());
  const PartitionLeader leader =
      index < topic->partitions.size() ? topic->partitions[index] : PartitionLeader{};
  if (leader.leader.value() < 0) {
    seek_leaders(now);
    wake_at(now + options_.pool.backoff_max);
    return false;
  }
  if (now < reading.not_before) {
    wake_at(reading.not_before);
    return false;
  }
  if (reading.at == leader.leader) return true;
  leave_session(reading);
  auto& session = sessions_[leader.leader];
  if (!session) {
    session = std::make_unique<BrokerSession>();
    session->broker = leader.leader;
  }
  reading.at = leader.leader;
  reading.leader_epoch = leader.leader_epoch;
  reading.unsent = true;
  session->readings[reading.id()] = &reading;
  return true;
}

void Fetcher::seek_leaders(SteadyTime now) {
  if (leaders_sought_at_ && now - *leaders_sought_at_ < options_.pool.backoff_max) return;
  leaders_sought_at_ = now;
  metadata_.refresh();
}

void Fetcher::leave_session(Reading& reading) {
  if (!reading.at) return;
  BrokerSession& session = *sessions_.at(*reading.at);
  session.readings.erase(reading.id());
  // A fetch under way may open the session, with this partition in it.
  if (session.session != 0 || session.open_fetches > 0) session.forgotten.push_back(reading.id());
  reading.at.reset();
}

void Fetcher::serve(BrokerId broker, BrokerSession& session, SteadyTime now) {
  if (session.readings.empty() && session.forgotten.empty()) return;
  if (now < session.not_before) return wake_at(session.not_before);
  Connection* connection = pool_.find(broker, Lane::kFetch);
  if (connection == nullptr) return seek_leaders(now);
  if (connection->serial() != session.serial) {
    reset_session(session);
    session.serial = connection->serial();
  }
  while (send_fetch(session, *connection)) {
  }
}

std::size_t Fetcher::room() const {
  const std::size_t taken = queue_.bytes() + reserved_bytes_;
  return taken < options_.prefetch_bytes_max ? options_.prefetch_bytes_max - taken : 0;
}

bool Fetcher::send_fetch(BrokerSession& session, Connection& connection) {
  const bool has_changes =
      !session.forgotten.empty() ||
      std::ranges::any_of(session.readings, [](const auto& at) { return at.second->unsent; });
  if (session.readings.empty() && !has_changes) return false;
  int open_max = has_changes ? kOpenFetchesWithChanges : kOpenFetches;
  if (session.session == 0) open_max = 1;  // the first answer names the session
  if (session.open_fetches >= open_max) return false;
  const std::size_t free = room();
  const std::size_t useful = std::min(kUsefulFetchBytes, options_.prefetch_bytes_max / 2);
  if (free == 0 || free < useful) return false;

  FetchRequest request;
  request.session = session.session;
  request.forgotten = std::exchange(session.forgotten, {});
  for (auto& [id, reading] : session.readings) {
    if (!std::exchange(reading->unsent, false)) continue;
    reading->set_by = session.next_number;
    request.changed.push_back(
        {.partition = id,
         .bytes_max = static_cast<std::uint32_t>(options_.partition_fetch_bytes_max),
         .offset = Offset(reading->next),
         .last_epoch = reading->last_epoch,
         .leader_epoch = reading->leader_epoch});
  }
  // The first one only opens the session: what waits for news comes by those behind it.
  const bool opens = session.session == 0;
  request.max_wait_ms = opens ? 0 : static_cast<std::uint32_t>(options_.fetch_wait.count());
  const std::size_t reserved = std::min(options_.fetch_bytes_max, free);
  request.bytes_max = static_cast<std::uint32_t>(reserved);
  reserved_bytes_ += reserved;
  ++session.open_fetches;
  const Ticket ticket{session.broker, session.epoch, session.next_number++, reserved};
  connection.call(wire::ApiKey::kFetch, encode(request), {},
                  options_.fetch_wait + options_.request_timeout,
                  [this, ticket](const std::expected<Answer, CallFailure>& answer) {
                    fetched(ticket, answer);
                  });
  return true;
}

void Fetcher::reset_session(BrokerSession& session) {
  ++session.epoch;
  session.session = 0;
  session.open_fetches = 0;
  session.forgotten.clear();
  for (auto& [id, reading] : session.readings) reading->unsent = true;
}

void Fetcher::fetched(const Ticket& ticket, const std::expected<Answer, CallFailure>& answer) {
  reserved_bytes_ -= ticket.reserved;
  BrokerSession& session = *sessions_.at(ticket.broker);
  if (session.epoch != ticket.epoch) return pump();  // of a session that is gone
  --session.open_fetches;
  std::optional<Error> error;
  if (!answer) {
    error = answer.error().error;
  } else {
    const Result<FetchAnswer> decoded = decode_fetch(answer->table.bytes(), answer->raw.size());
    if (!decoded) {
      error = decoded.error();
    } else if (!decoded->status.ok()) {
      error = decoded->status.error();
      session.not_before =
          executor_.clock().now() + std::chrono::milliseconds(decoded->status.throttle_ms);
    } else {
      session.session = decoded->session;
      apply(session, ticket.number, *decoded, answer->raw);
    }
  }
  if (error) {
    if (!shut_down_) pool_.log(fmt::format("a fetch failed: {}", error->message()));
    reset_session(session);
    session.not_before =
        std::max(session.not_before, executor_.clock().now() + options_.pool.backoff_min);
  }
  pump();
}

void Fetcher::apply(BrokerSession& session, std::uint64_t number, const FetchAnswer& answer,
                    const SharedBytes& raw) {
  std::size_t at = 0;
  for (const FetchResult& result : answer.results) {
    const SharedBytes batches = raw.slice(at, result.bytes);
    at += result.bytes;
    const auto reading = session.readings.find(result.partition);
    if (reading == session.readings.end()) continue;  // it left meanwhile
    if (!result.status.ok()) {
      apply_error(*reading->second, number, result);
    } else {
      apply_batches(*reading->second, number, result, batches, raw.size());
    }
  }
}

void Fetcher::apply_error(Reading& reading, std::uint64_t number, const FetchResult& result) {
  const Error error = result.status.error().with_context(reading.place());
  // Perhaps of a position that was left: ask again, since with an error it left the session.
  if (reading.unsent || number < reading.set_by) {
    reading.unsent = true;
    return;
  }
  switch (result.status.code) {
    case ErrorCode::kDiverged:
      return stop_with(
          reading, error,
          result.diverging_offset >= 0 ? std::optional(result.diverging_offset) : std::nullopt);
    case ErrorCode::kCorruptData:
    case ErrorCode::kLostData:
      return stop_with(
          reading, error,
          result.sound_offset >= 0 ? std::optional(result.sound_offset) : std::nullopt);
    default:
      break;
  }
  if (!error.retriable()) return stop_with(reading, error, std::nullopt);
  pool_.log(fmt::format("{}; trying again", error.message()));
  if (error.info().action == ErrorAction::kRefreshAndRetry) {
    reading.metadata_after = metadata_.answers();
    metadata_.refresh();
  }
  retry_later(reading);
}

void Fetcher::retry_later(Reading& reading) {
  leave_session(reading);
  const int doublings = std::min(reading.refusals++, 16);
  const auto wait =
      std::min(options_.pool.backoff_min * (1 << doublings), options_.pool.backoff_max);
  reading.not_before = executor_.clock().now() + wait;
}

void Fetcher::apply_batches(Reading& reading, std::uint64_t number, const FetchResult& result,
                            const SharedBytes& batches, std::size_t answer_bytes) {
  queue_.set_high_watermark(*reading.cursor, result.high_watermark);
  reading.refusals = 0;
  std::size_t at = 0;
  while (at < batches.size()) {
    const auto view = wire::BatchView::parse(batches.bytes().subspan(at), wire::kBatchBytesMax);
    const Result<> sound =
        view ? view->verify(wire::batch_seed(reading.id())) : Result<>(fail(view.error()));
    if (!sound) {
      return stop_with(reading,
                       sound.error().with_context(
                           fmt::format("{}, batch for offset {}", reading.place(), reading.next)),
                       std::nullopt);
    }
    const SharedBytes batch = batches.slice(at, view->size());
    if (!take_batch(reading, number, batch, memory_of(batch, answer_bytes))) return;
    at += view->size();
  }
}

bool Fetcher::take_batch(Reading& reading, std::uint64_t number, const SharedBytes& batch,
                         std::size_t memory) {
  const auto view = wire::BatchView::parse(batch.bytes(), batch.size());
  const std::int64_t base = view->base_offset().value();
  const std::int64_t behind = view->next_offset().value();
  if (behind <= reading.next) return true;  // of a position before a seek
  if (base > reading.next) {
    if (reading.unsent || number < reading.set_by) return false;  // of one before a seek, too
    if (++reading.gaps < kGapsMax) {
      reading.unsent = true;
      return false;
    }
    stop_with(reading,
              Error(ErrorCode::kLostData,
                    fmt::format("{}: records from offset {} on came where {} was expected",
                                reading.place(), base, reading.next)),
              base);
    return false;
  }
  reading.gaps = 0;
  reading.next = behind;
  reading.last_epoch = view->leader_epoch();
  queue_.push({reading.cursor, reading.generation, memory, batch});
  return true;
}

void Fetcher::stop_with(Reading& reading, const Error& error,
                        std::optional<std::int64_t> resume_offset) {
  reading.stopped = true;
  leave_session(reading);
  client::PartitionError report;
  report.topic = reading.topic_name;
  report.partition = reading.partition.value();
  report.position = reading.next;
  report.error = to_public(error);
  report.resume_offset = resume_offset;
  queue_.push({reading.cursor, reading.generation, 0, std::move(report)});
}

void Fetcher::wake_at(SteadyTime at) { wake_at_ = std::min(wake_at_.value_or(at), at); }

void Fetcher::arm_timer(SteadyTime now) {
  executor_.cancel(std::exchange(timer_, 0));
  if (!wake_at_) return;
  timer_ = executor_.run_after(std::max(*wake_at_ - now, std::chrono::microseconds(1)), [this] {
    timer_ = 0;
    pump();
  });
}

}  // namespace tidelog::client_core
