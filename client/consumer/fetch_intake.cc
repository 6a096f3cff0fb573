// The fetcher's second half: what becomes of the answers to its fetches (fetcher.h).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/consumer/fetcher.h"
#include "client/public_error.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {

// A session whose position is not ours is told where to go this often, before that is an error.
constexpr int kGapsMax = 3;

// What a batch costs: its bytes; or its share of the answer's buffer where most of that holds no
// batches, as with a few records in the smallest buffer there is.
std::size_t memory_of(const SharedBytes& batch, std::size_t answer_bytes) {
  const std::size_t held = batch.held_bytes();
  if (answer_bytes >= held / 2) return batch.size();
  return (batch.size() * held + answer_bytes - 1) / answer_bytes;
}

// Where the batch ends that holds the next record to read but whose records are damaged; nullopt
// where its header is, too.
std::optional<std::int64_t> end_of_damage(const wire::BatchView& batch, const Reading& reading) {
  if (!batch.header_sound(wire::batch_seed(reading.id())) ||
      batch.base_offset().value() > reading.next || batch.next_offset().value() <= reading.next) {
    return std::nullopt;
  }
  return batch.next_offset().value();
}

}  // namespace

void Fetcher::fetched(FetchSession& session, const FetchSession::Ticket& ticket,
                      const std::expected<Answer, CallFailure>& answer) {
  if (!session.ended(ticket) || shut_down_) return;
  if (!answer) {
    // A connection that broke is opened anew; what it would not even send will not be better then.
    const CallFailure& failure = answer.error();
    return fetch_failed(session, failure.error, 0, !failure.maybe_carried_out);
  }
  const Result<FetchAnswer> decoded = decode_fetch(answer->table.bytes(), answer->raw.size());
  if (!decoded) return fetch_failed(session, decoded.error(), 0, true);
  const AnswerStatus& status = decoded->status;
  if (!status.ok()) return fetch_failed(session, status.error(), status.throttle_ms, true);
  session.failures = 0;
  session.opened(decoded->session);
  apply(session, ticket.number, *decoded, answer->raw);
}

void Fetcher::fetch_failed(FetchSession& session, const Error& error, std::uint32_t throttle_ms,
                           bool final) {
  pool_.log(fmt::format("a fetch failed: {}", error.message()));
  end(session);
  session.not_before = executor_.clock().now() +
                       std::max<std::chrono::microseconds>(wait_after(session.failures++),
                                                           std::chrono::milliseconds(throttle_ms));
  if (final && !error.retriable()) stop_all(session, error);
}

void Fetcher::stop_all(FetchSession& session, const Error& error) {
  for (Reading* reading : session.readings()) {
    stop_with(*reading, error.with_context(reading->place()), std::nullopt);
  }
}

std::chrono::microseconds Fetcher::wait_after(int failures) const {
  return std::min(options_.pool.backoff_min * (1 << std::min(failures, 16)),
                  options_.pool.backoff_max);
}

void Fetcher::apply(FetchSession& session, std::uint64_t number, const FetchAnswer& answer,
                    const SharedBytes& raw) {
  std::size_t at = 0;
  for (const FetchResult& result : answer.results) {
    const SharedBytes batches = raw.slice(at, result.bytes);
    at += result.bytes;
    Reading* reading = session.find(result.partition);
    if (reading == nullptr) continue;  // it left meanwhile
    if (!result.status.ok()) {
      apply_error(*reading, number, result);
    } else {
      apply_batches(*reading, number, result, batches, raw.size());
    }
  }
}

void Fetcher::apply_error(Reading& reading, std::uint64_t number, const FetchResult& result) {
  const Error error = result.status.error().with_context(reading.place());
  // Perhaps of a position that was left: ask again, since with an error it left the session.
  if (reading.is_stale(number)) {
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
  reading.not_before = executor_.clock().now() + wait_after(reading.refusals++);
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
                       view ? end_of_damage(*view, reading) : std::nullopt);
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
    if (reading.is_stale(number)) return false;  // of one before a seek, too
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

}  // namespace tidelog::client_core
