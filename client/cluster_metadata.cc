#include "client/cluster_metadata.h"

#include <fmt/format.h>

#include <utility>

#include "wire/limits.h"

namespace tidelog::client_core {

ClusterMetadata::ClusterMetadata(Executor& executor, BrokerPool& pool, Options options,
                                 std::uint64_t seed)
    : executor_(executor),
      pool_(pool),
      options_(options),
      backoff_(options.backoff_min, options.backoff_max, seed),
      patience_(options.backoff_min, options.backoff_max, ~seed) {}

ClusterMetadata::~ClusterMetadata() {
  executor_.cancel(timer_);
  executor_.cancel(patience_timer_);
}

void ClusterMetadata::want(const std::string& name) {
  if (!wanted_.insert(name).second && topics_.contains(name)) return;
  refresh();
}

void ClusterMetadata::forget(const std::string& name) {
  wanted_.erase(name);
  topics_.erase(name);
}

const Topic* ClusterMetadata::find(std::string_view name) const {
  const auto at = topics_.find(name);
  return at != topics_.end() ? &at->second : nullptr;
}

void ClusterMetadata::refresh() {
  due_ = true;
  advance();
}

void ClusterMetadata::refresh_patiently() {
  // What is under way may bring it; who still misses it then calls again.
  if (patience_timer_ != 0 || due_ || !after_.empty() || in_flight_) return;
  missing_ = true;
  patience_timer_ = executor_.run_after(patience_.next(), [this] {
    patience_timer_ = 0;
    refresh();
  });
}

void ClusterMetadata::advance() {
  if (std::exchange(reshardings_seen_, pool_.reshardings()) != pool_.reshardings()) due_ = true;
  if ((!due_ && after_.empty()) || in_flight_ || timer_ != 0 || wanted_.empty()) return;
  const SteadyTime now = executor_.clock().now();
  if (last_sent_ && now - *last_sent_ < options_.backoff_min) {
    timer_ = executor_.run_after(*last_sent_ + options_.backoff_min - now, [this] {
      timer_ = 0;
      advance();
    });
    return;
  }
  Connection* connection = pool_.find_any();
  if (connection == nullptr) return;
  const MetadataRequest request = next_page();
  if (request.names.empty()) return;
  in_flight_ = true;
  last_sent_ = now;
  connection->call(
      wire::ApiKey::kMetadata, encode(request), {}, options_.request_timeout,
      [this, alive = std::weak_ptr<int>(alive_)](std::expected<Answer, CallFailure> answer) {
        if (!alive.expired()) answered(std::move(answer));
      });
}

MetadataRequest ClusterMetadata::next_page() {
  auto at = after_.empty() ? wanted_.end() : wanted_.upper_bound(after_);
  after_.clear();
  // Who asked for all while a page was due is not served by the rest of the pages.
  if (at == wanted_.end() && std::exchange(due_, false)) at = wanted_.begin();
  MetadataRequest request;
  for (; at != wanted_.end() && request.names.size() < wire::kPartitionsPerRequestMax; ++at) {
    request.names.push_back(*at);
  }
  is_cut_ = at != wanted_.end();
  return request;
}

void ClusterMetadata::answered(std::expected<Answer, CallFailure> answer) {
  in_flight_ = false;
  if (!answer) return retry_later();
  Result<MetadataAnswer> decoded = decode_metadata(answer->table.bytes());
  if (!decoded || !decoded->status.ok()) {
    pool_.log(fmt::format("no metadata: {}",
                          decoded ? decoded->status.message : decoded.error().message()));
    return retry_later();
  }
  backoff_.reset();
  if (!std::exchange(missing_, false)) patience_.reset();
  // What did not fit is asked for next.
  const bool more = (decoded->more || is_cut_) && !decoded->topics.empty();
  if (more) after_ = decoded->topics.back().name;
  apply(std::move(*decoded));
  if (updated_) updated_();
  advance();
}

void ClusterMetadata::apply(MetadataAnswer answer) {
  ++answers_;
  if (!answer.brokers.empty()) pool_.set_brokers(answer.brokers);
  for (TopicMetadata& from : answer.topics) {
    if (!wanted_.contains(from.name)) continue;
    Topic topic;
    topic.name = from.name;
    topic.as_of = answers_;
    if (from.status.ok()) {
      topic.id = from.id;
      topic.partitions = std::move(from.partitions);
      topic.batch_bytes_max = from.batch_bytes_max;
    } else {
      topic.error = from.status.error();
    }
    topics_.insert_or_assign(from.name, std::move(topic));
  }
}

void ClusterMetadata::retry_later() {
  due_ = true;
  if (timer_ != 0) return;
  timer_ = executor_.run_after(backoff_.next(), [this] {
    timer_ = 0;
    advance();
  });
}

}  // namespace tidelog::client_core
