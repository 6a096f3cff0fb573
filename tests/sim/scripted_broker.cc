#include "tests/sim/scripted_broker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "base/check.h"
#include "wire/batch_builder.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::sim {

namespace fb = wire::fb;

namespace {

fb::Uuid to_wire(const TopicId& id) {
  return fb::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes));
}

TopicId from_wire(const fb::Uuid& uuid) {
  TopicId id;
  std::ranges::copy(*uuid.bytes(), id.bytes.begin());
  return id;
}

flatbuffers::Offset<fb::Status> status(flatbuffers::FlatBufferBuilder& to, ErrorCode code,
                                       const std::string& message = "as the test says") {
  return fb::CreateStatusDirect(to, static_cast<std::uint16_t>(code),
                                code == ErrorCode::kOk ? "" : message.c_str());
}

}  // namespace

// One connection.
class ScriptedBroker::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(ScriptedBroker& broker, std::unique_ptr<wire::Connection> stream)
      : broker_(broker), stream_(std::move(stream)), read_(64 * 1024) {}

  void receive() {
    stream_->receive(read_, 1, [this](Result<std::size_t> count) {
      if (!count) return end();
      const auto self = shared_from_this();
      received_.insert(received_.end(), read_.begin(),
                       read_.begin() + static_cast<std::ptrdiff_t>(*count));
      while (!ended_ && take_frame()) {
      }
      if (!ended_) receive();
    });
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    stream_->close();
    for (const Parked& parked : parked_) broker_.executor_.cancel(parked.timer);
    parked_.clear();
    const auto self = shared_from_this();
    std::erase(broker_.sessions_, self);
    broker_.executor_.post([self] {});  // it may be one of its own callbacks that got us here
  }

  void notice(fb::NoticeKind kind, const std::string& reason) {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreateNotice(to, kind, status(to, ErrorCode::kDraining, reason)));
    send(wire::ApiKey::kNotice, 0, to, {});
  }

  // Answers the fetches that have something to say now.
  void wake() {
    while (!parked_.empty() && answer_fetch(parked_.front(), false)) parked_.pop_front();
  }

 private:
  struct Parked {
    std::uint64_t correlation = 0;
    std::uint64_t session = 0;
    std::size_t bytes_max = 0;
    TimerId timer = 0;
  };
  struct Position {
    Offset offset;
    std::size_t bytes_max = 0;
  };
  using Positions = std::map<TopicPartition, Position>;

  bool take_frame() {
    if (received_.size() < wire::kFramePrefixBytes) return false;
    const std::span<const std::byte, wire::kFramePrefixBytes> head(received_.data(),
                                                                   wire::kFramePrefixBytes);
    const auto prefix = wire::decode_frame_prefix(head, wire::kFrameBytesMax);
    TIDELOG_CHECK(prefix.has_value(), "a client sends well-formed prefixes");
    if (received_.size() < prefix->frame_bytes) return false;
    const std::span<const std::byte> frame(received_.data(), prefix->frame_bytes);
    TIDELOG_CHECK(
        wire::check_frame(head, frame.subspan(wire::kFramePrefixBytes,
                                              prefix->raw_position() - wire::kFramePrefixBytes))
            .has_value(),
        "a client sends frames with sound checksums");
    // Aligned, as tables must be.
    Buffer copy = Buffer::allocate(prefix->frame_bytes);
    std::memcpy(copy.data(), frame.data(), frame.size());
    received_.erase(received_.begin(), received_.begin() + prefix->frame_bytes);
    const std::span<const std::byte> bytes = copy.bytes();
    handle(*prefix, bytes.subspan(wire::kFramePrefixBytes, prefix->table_bytes),
           bytes.subspan(prefix->raw_position(), prefix->raw_bytes()));
    return true;
  }

  void handle(const wire::FramePrefix& prefix, std::span<const std::byte> table,
              std::span<const std::byte> raw) {
    switch (static_cast<wire::ApiKey>(prefix.api_key)) {
      case wire::ApiKey::kHello:
        return hello(prefix.correlation);
      case wire::ApiKey::kPing:
        return ping(prefix.correlation);
      case wire::ApiKey::kMetadata:
        return metadata(prefix.correlation, table);
      case wire::ApiKey::kProduce:
        return produce(prefix.correlation, table, raw);
      case wire::ApiKey::kFetch:
        return fetch(prefix.correlation, table);
      case wire::ApiKey::kListOffsets:
        return list_offsets(prefix.correlation, table);
      default:
        TIDELOG_CHECK(false, "the tests use no other API");
    }
  }

  template <typename T>
  const T& request(std::span<const std::byte> table) {
    const T* read = wire::verified_table<T>(table);
    TIDELOG_CHECK(read != nullptr, "a client sends valid tables");
    return *read;
  }

  void send(wire::ApiKey api, std::uint64_t correlation,
            const flatbuffers::FlatBufferBuilder& table, std::vector<SharedBytes> raw) {
    std::size_t raw_bytes = 0;
    for (const SharedBytes& piece : raw) raw_bytes += piece.size();
    const std::uint16_t flags = correlation == 0 ? 0 : wire::kFrameAnswer;
    raw.insert(
        raw.begin(),
        wire::encode_frame({.api = api, .version = 1, .correlation = correlation, .flags = flags},
                           table, raw_bytes, broker_.pool_));
    stream_->send(std::move(raw), nullptr);
  }

  void hello(std::uint64_t correlation) {
    ++broker_.counts.hellos;
    flatbuffers::FlatBufferBuilder to;
    std::vector<fb::ApiRange> apis;
    for (const wire::ApiInfo& api : wire::api_table()) {
      apis.emplace_back(static_cast<std::uint16_t>(api.key), api.version_min, api.version_max);
    }
    const auto ok = status(to, ErrorCode::kOk);
    const auto version = to.CreateString("scripted");
    const auto list = to.CreateVectorOfStructs(apis);
    const fb::Uuid cluster = to_wire(TopicId{.bytes = {42}});
    fb::HelloAnswerBuilder answer(to);
    answer.add_status(ok);
    answer.add_cluster_id(&cluster);
    answer.add_broker_id(broker_.id_);
    answer.add_broker_version(version);
    answer.add_apis(list);
    answer.add_shard_count(1);
    answer.add_frame_bytes_max(wire::kFrameBytesMax);
    answer.add_batch_bytes_max(wire::kBatchBytesMax);
    answer.add_requests_in_flight_max(broker_.settings.requests_in_flight_max);
    answer.add_bytes_in_flight_max(
        static_cast<std::uint32_t>(broker_.settings.bytes_in_flight_max));
    answer.add_unsettled_batches_max(wire::kUnsettledBatchesMax);
    answer.add_idle_timeout_ms(broker_.settings.idle_timeout_ms);
    to.Finish(answer.Finish());
    send(wire::ApiKey::kHello, correlation, to, {});
  }

  void ping(std::uint64_t correlation) {
    ++broker_.counts.pings;
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreatePingAnswer(to, status(to, ErrorCode::kOk), 0));
    send(wire::ApiKey::kPing, correlation, to, {});
  }

  void metadata(std::uint64_t correlation, std::span<const std::byte> table) {
    ++broker_.counts.metadata;
    const auto& asked = request<fb::MetadataRequest>(table);
    flatbuffers::FlatBufferBuilder to;
    std::vector<flatbuffers::Offset<fb::TopicMetadata>> topics;
    for (const auto* name : *asked.names()) {
      const auto at = broker_.topics_.find(name->str());
      if (at == broker_.topics_.end()) {
        const std::string message = fmt::format("topic '{}' does not exist", name->str());
        topics.push_back(fb::CreateTopicMetadataDirect(
            to, status(to, ErrorCode::kUnknownTopic, message), name->c_str()));
        continue;
      }
      std::vector<fb::PartitionMetadata> partitions;
      for (std::size_t i = 0; i < at->second.partitions.size(); ++i) {
        partitions.emplace_back(static_cast<std::int32_t>(i), broker_.id_, 1, 0);
      }
      const fb::Uuid id = to_wire(at->second.id);
      topics.push_back(fb::CreateTopicMetadataDirect(to, status(to, ErrorCode::kOk), name->c_str(),
                                                     &id, &partitions, 1,
                                                     broker_.settings.topic_batch_bytes_max));
    }
    std::vector<flatbuffers::Offset<fb::BrokerMetadata>> brokers{
        fb::CreateBrokerMetadataDirect(to, broker_.id_, "sim", broker_.port_)};
    to.Finish(fb::CreateMetadataAnswerDirect(to, status(to, ErrorCode::kOk), nullptr, broker_.id_,
                                             &brokers, &topics));
    send(wire::ApiKey::kMetadata, correlation, to, {});
  }

  void produce(std::uint64_t correlation, std::span<const std::byte> table,
               std::span<const std::byte> raw) {
    ++broker_.counts.produces;
    const auto& asked = request<fb::ProduceRequest>(table);
    flatbuffers::FlatBufferBuilder to;
    std::vector<flatbuffers::Offset<fb::ProduceResult>> results;
    bool silent = false;
    bool late = false;
    for (const fb::ProduceEntry* entry : *asked.entries()) {
      TIDELOG_CHECK(entry->bytes() <= raw.size(), "the entries' bytes are in the raw bytes");
      const std::span<const std::byte> batch = raw.first(entry->bytes());
      raw = raw.subspan(entry->bytes());
      const TopicPartition partition{from_wire(entry->topic()), PartitionIndex(entry->partition())};
      Verdict verdict;
      std::int64_t base = -1;
      ScriptedLog* log = broker_.find(partition);
      if (log == nullptr) {
        verdict.code = ErrorCode::kUnknownTopic;
      } else {
        if (broker_.on_produce) {
          verdict = broker_.on_produce(*broker_.name_of(partition.topic), entry->partition());
        }
        if (verdict.code == ErrorCode::kOk || verdict.store) {
          const auto appended = log->append(batch, broker_.executor_.clock().wall_us());
          if (appended) {
            base = appended->value();
          } else {
            verdict.code = appended.error().code();
          }
        }
      }
      silent = silent || verdict.silent;
      late = late || verdict.late;
      if (verdict.cut) return end();
      const fb::Uuid topic = to_wire(partition.topic);
      results.push_back(
          fb::CreateProduceResult(to, &topic, entry->partition(),
                                  verdict.code == ErrorCode::kOk ? 0 : status(to, verdict.code),
                                  verdict.code == ErrorCode::kOk ? base : -1));
    }
    TIDELOG_CHECK(raw.empty(), "the entries' bytes add up to the raw bytes");
    if (!silent && (asked.acks() != fb::Acks::None || broker_.settings.answers_one_way)) {
      to.Finish(fb::CreateProduceAnswerDirect(to, status(to, ErrorCode::kOk), &results));
      if (late) {
        broker_.executor_.run_after(
            std::chrono::milliseconds(asked.deadline_ms()),
            [self = shared_from_this(), correlation, answer = std::move(to)] {
              if (!self->ended_) self->send(wire::ApiKey::kProduce, correlation, answer, {});
            });
      } else {
        send(wire::ApiKey::kProduce, correlation, to, {});
      }
    }
    broker_.wake_fetches();
  }

  void fetch(std::uint64_t correlation, std::span<const std::byte> table) {
    ++broker_.counts.fetches;
    const auto& asked = request<fb::FetchRequest>(table);
    std::uint64_t session = asked.session();
    if (session == 0) {
      session = next_session_++;
      fetch_sessions_[session];
    }
    const auto at = fetch_sessions_.find(session);
    if (at == fetch_sessions_.end()) return fail_fetch(correlation, ErrorCode::kUnknownSession);
    for (const auto* gone : *asked.forgotten()) {
      at->second.erase({from_wire(gone->topic()), PartitionIndex(gone->partition())});
    }
    for (const auto* change : *asked.changed()) {
      at->second[{from_wire(change->topic()), PartitionIndex(change->partition())}] = {
          Offset(change->offset()), change->bytes_max()};
    }
    if (asked.close_session()) {
      fetch_sessions_.erase(at);
      return fail_fetch(correlation, ErrorCode::kOk);
    }
    Parked parked{correlation, session, asked.bytes_max(), 0};
    if (asked.max_wait_ms() == 0) {
      answer_fetch(parked, true);
      return;
    }
    parked.timer = broker_.executor_.run_after(
        std::chrono::milliseconds(asked.max_wait_ms()), [this, correlation] {
          const auto waiting = std::ranges::find(parked_, correlation, &Parked::correlation);
          if (waiting == parked_.end()) return;
          const Parked expired = *waiting;
          parked_.erase(waiting);
          answer_fetch(expired, true);
        });
    parked_.push_back(parked);
    wake();
  }

  void fail_fetch(std::uint64_t correlation, ErrorCode code) {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreateFetchAnswerDirect(to, status(to, code), 0));
    send(wire::ApiKey::kFetch, correlation, to, {});
  }

  // False: there is nothing to say, and it need not be said.
  bool answer_fetch(const Parked& parked, bool even_nothing) {
    const auto at = fetch_sessions_.find(parked.session);
    if (at == fetch_sessions_.end()) {
      fail_fetch(parked.correlation, ErrorCode::kUnknownSession);
      return true;
    }
    flatbuffers::FlatBufferBuilder to;
    std::vector<flatbuffers::Offset<fb::FetchResult>> results;
    std::vector<SharedBytes> raw;
    std::size_t bytes = 0;
    for (auto partition = at->second.begin(); partition != at->second.end();) {
      const bool keeps = answer_partition(partition->first, partition->second, parked.bytes_max, to,
                                          results, raw, bytes);
      partition = keeps ? std::next(partition) : at->second.erase(partition);
    }
    if (results.empty() && !even_nothing) return false;
    broker_.executor_.cancel(parked.timer);
    broker_.fetch_bytes_answered += bytes;
    to.Finish(
        fb::CreateFetchAnswerDirect(to, status(to, ErrorCode::kOk), parked.session, &results));
    send(wire::ApiKey::kFetch, parked.correlation, to, std::move(raw));
    return true;
  }

  // False: the partition leaves the session, with an error.
  bool answer_partition(const TopicPartition& id, Position& position, std::size_t bytes_max,
                        flatbuffers::FlatBufferBuilder& to,
                        std::vector<flatbuffers::Offset<fb::FetchResult>>& results,
                        std::vector<SharedBytes>& raw, std::size_t& bytes) {
    ScriptedLog* log = broker_.find(id);
    FetchVerdict verdict;
    if (log == nullptr) {
      verdict.code = ErrorCode::kUnknownTopic;
    } else {
      if (broker_.on_fetch) {
        verdict = broker_.on_fetch(*broker_.name_of(id.topic), id.partition.value());
      }
      if (position.offset < log->start() || position.offset > log->end()) {
        verdict.code = ErrorCode::kOffsetOutOfRange;
      }
    }
    const fb::Uuid topic = to_wire(id.topic);
    if (verdict.code != ErrorCode::kOk) {
      results.push_back(fb::CreateFetchResult(to, &topic, id.partition.value(),
                                              status(to, verdict.code), 0, -1, -1, 1,
                                              verdict.diverging_offset, verdict.sound_offset));
      return false;
    }
    if (position.offset >= log->end() || (bytes > 0 && bytes >= bytes_max)) return true;
    const ScriptedLog::Read read = log->read(
        position.offset, std::min(position.bytes_max, bytes_max - std::min(bytes, bytes_max)));
    position.offset = read.next;
    results.push_back(fb::CreateFetchResult(
        to, &topic, id.partition.value(), 0, log->start().value(), log->end().value(),
        log->end().value(), -1, -1, -1, read.next.value(), static_cast<std::uint32_t>(read.bytes)));
    raw.insert(raw.end(), read.batches.begin(), read.batches.end());
    bytes += read.bytes;
    return true;
  }

  void list_offsets(std::uint64_t correlation, std::span<const std::byte> table) {
    const auto& asked = request<fb::ListOffsetsRequest>(table);
    flatbuffers::FlatBufferBuilder to;
    std::vector<flatbuffers::Offset<fb::ListOffsetsResult>> results;
    for (const auto* entry : *asked.entries()) {
      const TopicPartition id{from_wire(entry->topic()), PartitionIndex(entry->partition())};
      const fb::Uuid topic = to_wire(id.topic);
      const ScriptedLog* log = broker_.find(id);
      std::int64_t offset = -1;
      if (log != nullptr) {
        const std::int64_t time = entry->timestamp_ms();
        if (time == -1) offset = log->end().value();
        if (time == -2) offset = log->start().value();
        if (time >= 0) offset = log->find_time(time).value_or(Offset(-1)).value();
      }
      results.push_back(fb::CreateListOffsetsResult(
          to, &topic, id.partition.value(),
          log == nullptr ? status(to, ErrorCode::kUnknownTopic) : 0, offset, 1));
    }
    to.Finish(fb::CreateListOffsetsAnswerDirect(to, status(to, ErrorCode::kOk), &results));
    send(wire::ApiKey::kListOffsets, correlation, to, {});
  }

  ScriptedBroker& broker_;
  std::unique_ptr<wire::Connection> stream_;
  std::vector<std::byte> read_;
  std::vector<std::byte> received_;
  std::map<std::uint64_t, Positions> fetch_sessions_;
  std::uint64_t next_session_ = 1;
  std::deque<Parked> parked_;
  bool ended_ = false;
};

ScriptedBroker::ScriptedBroker(SimExecutor& executor, SimNetwork& network, std::uint16_t port,
                               std::int32_t id)
    : executor_(executor), network_(network), port_(port), id_(id) {
  start();
}

ScriptedBroker::~ScriptedBroker() { stop(); }

void ScriptedBroker::start() {
  auto listener = network_.listen(
      {.host = "sim", .port = port_}, [this](std::unique_ptr<wire::Connection> stream) {
        sessions_.push_back(std::make_shared<Session>(*this, std::move(stream)));
        sessions_.back()->receive();
      });
  TIDELOG_CHECK(listener.has_value(), "a scripted broker has a port of its own");
  listener_ = std::move(*listener);
}

void ScriptedBroker::stop() {
  listener_.reset();
  while (!sessions_.empty()) sessions_.back()->end();
}

TopicId ScriptedBroker::create_topic(const std::string& name, std::int32_t partitions) {
  Topic topic;
  topic.id.bytes[0] = 7;
  store_le<std::uint64_t>(reinterpret_cast<std::byte*>(&topic.id.bytes[8]), next_topic_++);
  for (std::int32_t i = 0; i < partitions; ++i) {
    topic.partitions.push_back(
        std::make_unique<ScriptedLog>(TopicPartition{topic.id, PartitionIndex(i)}));
  }
  const TopicId id = topic.id;
  topics_.insert_or_assign(name, std::move(topic));
  return id;
}

void ScriptedBroker::delete_topic(const std::string& name) {
  topics_.erase(name);
  wake_fetches();
}

ScriptedLog& ScriptedBroker::log(const std::string& topic, std::int32_t partition) {
  return *topics_.at(topic).partitions.at(static_cast<std::size_t>(partition));
}

void ScriptedBroker::append(const std::string& topic, std::int32_t partition,
                            const std::vector<std::string>& values, std::vector<std::int64_t> times,
                            wire::Codec codec) {
  wire::BatchBuilder builder;
  for (std::size_t i = 0; i < values.size(); ++i) {
    wire::RecordView record;
    record.value = values[i];
    builder.add(i < times.size() ? times[i] : executor_.clock().wall_us() / 1000, record);
  }
  const TopicPartition id{topics_.at(topic).id, PartitionIndex(partition)};
  const auto batch = builder.finish(codec, wire::batch_seed(id), {}, pool_);
  TIDELOG_CHECK(batch.has_value(), "the codec is supported");
  TIDELOG_CHECK(
      log(topic, partition).append(batch->bytes(), executor_.clock().wall_us()).has_value(),
      "the batch is sound");
  wake_fetches();
}

void ScriptedBroker::announce_draining() {
  for (const auto& session : sessions_) session->notice(fb::NoticeKind::Draining, "stopping soon");
}

void ScriptedBroker::close_with_notice(const std::string& reason) {
  const auto sessions = sessions_;
  for (const auto& session : sessions) {
    session->notice(fb::NoticeKind::Closing, reason);
    session->end();
  }
}

const std::string* ScriptedBroker::name_of(const TopicId& id) const {
  for (const auto& [name, topic] : topics_) {
    if (topic.id == id) return &name;
  }
  return nullptr;
}

ScriptedLog* ScriptedBroker::find(const TopicPartition& partition) {
  const std::string* name = name_of(partition.topic);
  if (name == nullptr) return nullptr;
  const auto& partitions = topics_.at(*name).partitions;
  const auto index = static_cast<std::size_t>(partition.partition.value());
  return index < partitions.size() ? partitions[index].get() : nullptr;
}

void ScriptedBroker::wake_fetches() {
  const auto sessions = sessions_;
  for (const auto& session : sessions) session->wake();
}

}  // namespace tidelog::sim
