#include "client/consumer/fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tidelog::client_core {
namespace {

// Below this, fetching waits until more was polled; many small answers cost more than they bring.
constexpr std::size_t kUsefulFetchBytes = 64 * 1024;

}  // namespace

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
                 .backoff_max = options_.pool.backoff_max,
                 .age_max = options_.metadata_max_age},
                random_.next()),
      resolver_(executor, pool_, metadata_, buffers_,
                {.timeout = options_.request_timeout,
                 .backoff_min = options_.pool.backoff_min,
                 .backoff_max = options_.pool.backoff_max,
                 .uncompressed_bytes_max = options_.uncompressed_batch_bytes_max},
                random_.next()),
      follower_(
          metadata_, resolver_,
          [this](const std::string& topic, std::int32_t partition, const ResolvedOffset& start) {
            if (readings_.contains({topic, partition})) return;
            restart(reading_of(topic, partition), start);
            pump();
          }) {
  pool_.on_change([this] {
    metadata_.advance();
    resolver_.advance();
    pump();
  });
  metadata_.on_update([this] {
    resolver_.advance();
    follower_.look();
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
  follower_.stop();
  for (std::size_t i = 0; i < assignments.size(); ++i) {
    restart(reading_of(assignments[i].topic, assignments[i].partition), positions[i]);
  }
  pump();
}

Reading& Fetcher::reading_of(const std::string& topic, std::int32_t partition) {
  auto& reading = readings_[{topic, partition}];
  if (!reading) {
    reading = std::make_unique<Reading>();
    reading->topic_name = topic;
    reading->partition = PartitionIndex(partition);
    reading->cursor = std::make_shared<ReadCursor>(topic, partition);
  }
  return *reading;
}

Result<> Fetcher::follow(const std::string& topic, std::int32_t first) {
  const auto at = readings_.lower_bound({topic, 0});
  if (at == readings_.end() || at->first.first != topic) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("no partition of topic '{}' is assigned", topic));
  }
  if (first < 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("partitions have numbers from 0, not {}", first));
  }
  follower_.follow(topic, at->second->topic, first);
  return {};
}

void Fetcher::restart(Reading& reading, const ResolvedOffset& position) {
  leave_session(reading);
  if (reading.topic != position.topic) queue_.set_high_watermark(*reading.cursor, -1);
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
                      const Result<Reading*> reading = assigned(name);
                      if (!reading) return done(fail(reading.error()));
                      restart(**reading, *resolved);
                      pump();
                      done({});
                    });
}

Result<Reading*> Fetcher::assigned(const Name& name) const {
  const auto at = readings_.find(name);
  if (at != readings_.end()) return at->second.get();
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("topic '{}' partition {} is not assigned", name.first, name.second));
}

Result<> Fetcher::pause(const std::string& topic, std::int32_t partition) {
  TIDELOG_ASSIGN(Reading * reading, assigned({topic, partition}));
  if (std::exchange(reading->paused, true)) return {};
  leave_session(*reading);
  // What was fetched ahead would stand in the way of the other partitions.
  reading->generation = queue_.suspend(*reading->cursor);
  pump();
  return {};
}

Result<> Fetcher::resume(const std::string& topic, std::int32_t partition) {
  TIDELOG_ASSIGN(Reading * reading, assigned({topic, partition}));
  if (!std::exchange(reading->paused, false)) return {};
  reading->next = queue_.position(*reading->cursor);
  reading->last_epoch = LeaderEpoch(-1);
  pump();
  return {};
}

std::shared_ptr<ReadCursor> Fetcher::cursor(const std::string& topic,
                                            std::int32_t partition) const {
  const auto at = readings_.find({topic, partition});
  return at != readings_.end() ? at->second->cursor : nullptr;
}

std::shared_ptr<ReadCursor> Fetcher::watch_end(const std::string& topic, std::int32_t partition) {
  const auto at = readings_.find({topic, partition});
  if (at == readings_.end()) return nullptr;
  Reading& reading = *at->second;
  // Fetches tell it only with records.
  if (shut_down_ || queue_.high_watermark(*reading.cursor) >= 0) return reading.cursor;
  if (std::exchange(reading.end_asked, true)) return reading.cursor;
  resolver_.resolve(topic, partition, client::Position::end(),
                    [this, name = at->first, cursor = reading.cursor](Result<ResolvedOffset> end) {
                      const auto now = readings_.find(name);
                      if (now == readings_.end() || now->second->cursor != cursor) return;
                      now->second->end_asked = false;  // on failure the next who asks asks again
                      if (!end || !end->offset || end->topic != now->second->topic) return;
                      queue_.set_high_watermark(
                          *cursor, std::max(*end->offset, queue_.high_watermark(*cursor)));
                    });
  return reading.cursor;
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
  serve_sessions(now);
  arm_timer(now);
}

void Fetcher::place_readings(SteadyTime now) {
  const bool all = std::exchange(answers_seen_, metadata_.answers()) != metadata_.answers();
  for (auto& [name, reading] : readings_) {
    if (reading->stopped || reading->paused) continue;
    if (all || !reading->at) place(*reading, now);
  }
}

bool Fetcher::place(Reading& reading, SteadyTime now) {
  const Topic* topic = metadata_.find(reading.topic_name);
  if (topic == nullptr || topic->as_of <= reading.metadata_after) {
    metadata_.want(reading.topic_name);
    return false;
  }
  if (topic->error) {
    if (topic->error->code() != ErrorCode::kUnknownTopic && topic->error->retriable()) {
      metadata_.refresh_patiently();
      return false;
    }
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
    metadata_.refresh_patiently();
    return false;
  }
  if (now < reading.not_before) {
    wake_at(reading.not_before);
    return false;
  }
  const BrokerShard at = BrokerPool::connected_by({leader.leader, leader.shard});
  if (reading.at == at) {
    reading.leader_epoch = leader.leader_epoch;
    return true;
  }
  leave_session(reading);
  reading.leader_epoch = leader.leader_epoch;
  sessions_.try_emplace(at, at).first->second.join(reading);
  return true;
}

void Fetcher::leave_session(Reading& reading) {
  if (reading.at) sessions_.at(*reading.at).leave(reading);
}

void Fetcher::serve_sessions(SteadyTime now) {
  // What is free goes to another one first each time.
  auto at = sessions_.upper_bound(first_served_);
  for (std::size_t left = sessions_.size(); left > 0; --left) {
    if (at == sessions_.end()) at = sessions_.begin();
    if (left == sessions_.size()) first_served_ = at->first;
    serve(at->second, now);
    ++at;
  }
}

void Fetcher::serve(FetchSession& session, SteadyTime now) {
  if (!session.has_readings()) {
    if (session.id() != 0) end(session);
    return;
  }
  if (now < session.not_before) return wake_at(session.not_before);
  Connection* connection = pool_.find(session.shard(), Lane::kFetch);
  if (connection == nullptr) {
    const std::optional<Error>& failure = pool_.last_failure();
    if (failure && failure->code() == ErrorCode::kWrongCluster) {
      return stop_all(session, *failure);  // its records are not those that were read
    }
    return metadata_.refresh_patiently();  // it may have moved
  }
  if (session.serial() != connection->serial()) {
    end(session);
    session.use_connection(connection->serial());
  }
  while (send_fetch(session, *connection)) {
  }
  // What was sought or left is not to wait until the broker has news of where it was.
  if (const auto call = session.cancel_oldest()) connection->cancel(*call);
}

void Fetcher::end(FetchSession& session) {
  const std::uint64_t id = session.id();
  Connection* connection = id != 0 ? pool_.find_by_serial(session.serial()) : nullptr;
  session.reset();
  if (connection == nullptr) return;  // it ended with its connection
  FetchRequest close;
  close.session = id;
  close.close_session = true;
  connection->call(wire::ApiKey::kFetch, encode(close), {}, options_.request_timeout,
                   [](const std::expected<Answer, CallFailure>&) {
                     // The session ends with its connection at the latest.
                   });
}

std::size_t Fetcher::room() const {
  const std::size_t taken = queue_.bytes() + reserved_bytes_;
  const std::size_t bound = std::max<std::size_t>(options_.prefetch_bytes_max, 1);
  return taken < bound ? bound - taken : 0;
}

std::size_t Fetcher::fair_bytes() const {
  const auto busy = static_cast<std::size_t>(
      std::ranges::count_if(sessions_, [](const auto& at) { return at.second.has_readings(); }));
  const std::size_t fetches = FetchSession::kOpenFetches * std::max<std::size_t>(busy, 1);
  return std::max<std::size_t>(options_.prefetch_bytes_max / fetches, 1);
}

bool Fetcher::send_fetch(FetchSession& session, Connection& connection) {
  if (!session.wants_fetch()) return false;
  const std::size_t free = room();
  const std::size_t fair = fair_bytes();
  if (free < std::min(kUsefulFetchBytes, fair)) return false;

  const bool opens = session.id() == 0;
  FetchRequest request = session.begin_fetch(options_.partition_fetch_bytes_max);
  // The first one only opens the session: what waits for news comes by those behind it.
  request.max_wait_ms = opens ? 0 : static_cast<std::uint32_t>(options_.fetch_wait.count());
  const std::size_t reserved = std::min({options_.fetch_bytes_max, free, fair});
  request.bytes_max = static_cast<std::uint32_t>(reserved);
  reserved_bytes_ += reserved;
  session.sent(connection.call(wire::ApiKey::kFetch, encode(request), {},
                               options_.fetch_wait + options_.request_timeout,
                               [this, shard = session.shard(), ticket = session.ticket(),
                                reserved](const std::expected<Answer, CallFailure>& answer) {
                                 reserved_bytes_ -= reserved;
                                 fetched(sessions_.at(shard), ticket, answer);
                                 pump();
                               }));
  return true;
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
