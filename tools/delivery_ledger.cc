#include "tools/delivery_ledger.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace tidelog::tools {
namespace {

constexpr std::size_t kWaitingBytesMax = std::size_t{16} << 20;

bool is_code(const client::Error& error, ErrorCode code) {
  return error.code == static_cast<std::uint16_t>(code);
}

}  // namespace

AcknowledgementPrinter::AcknowledgementPrinter(Format format, int fd, const StopEvent& stop)
    : format_(std::move(format)),
      needs_contents_(format_.uses(FormatField::kKey) || format_.uses(FormatField::kValue) ||
                      format_.uses(FormatField::kKeyLength) ||
                      format_.uses(FormatField::kValueLength) ||
                      format_.uses(FormatField::kHeaders)),
      output_(fd) {
  output_.give_up_after(stop);
  writer_ = std::thread([this] { write_lines(); });
}

void AcknowledgementPrinter::add(const RecordFields& record) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = waiting_.empty();
  format_.print(record, waiting_);
  if (was_empty) changed_.notify_all();
}

void AcknowledgementPrinter::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < kWaitingBytesMax; });
}

std::optional<Error> AcknowledgementPrinter::finish() {
  {
    const std::lock_guard lock(mutex_);
    is_finishing_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
  return error_;
}

void AcknowledgementPrinter::write_lines() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !waiting_.empty() || is_finishing_; });
    if (waiting_.empty()) return;
    output_.text().swap(waiting_);
    lock.unlock();
    changed_.notify_all();
    const auto written = output_.flush();
    lock.lock();
    if (!written && !error_) error_ = written.error();
  }
}

bool DeliveryLedger::settle(const Result& result, const client::Record* contents) {
  if (result) {
    acknowledge(*result, contents);
    return false;
  }
  const client::Error& error = result.error();
  if (error.unknown_outcome()) {
    if (!first_unknown_) first_unknown_ = error;
    unknown_.fetch_add(1, std::memory_order_relaxed);
    return false;  // a broken connection comes back
  }
  // What was given up afterwards says nothing about why.
  if (!first_failure_ || is_code(*first_failure_, ErrorCode::kCancelled)) first_failure_ = error;
  failed_.fetch_add(1, std::memory_order_relaxed);
  return !concerns_one_record(error);
}

// All others would meet the next record, too.
bool DeliveryLedger::concerns_one_record(const client::Error& error) const {
  return is_code(error, ErrorCode::kTooLarge) || is_code(error, ErrorCode::kBatchTooLarge) ||
         is_code(error, ErrorCode::kInvalidArgument) ||  // such as too many headers
         (is_code(error, ErrorCode::kUnknownPartition) && !one_partition_);
}

void DeliveryLedger::acknowledge(const client::Delivery& delivery, const client::Record* contents) {
  acknowledged_.fetch_add(1, std::memory_order_relaxed);
  OffsetSpan& span = partitions_[delivery.partition];
  if (delivery.offset >= 0) {
    if (span.first < 0) span.first = delivery.offset;
    span.last = std::max(span.last, delivery.offset);
  }
  if (printer_ == nullptr) return;
  RecordFields fields{.topic = delivery.topic,
                      .partition = delivery.partition,
                      .offset = delivery.offset,
                      .timestamp_ms = delivery.timestamp_ms,
                      .key = std::nullopt,
                      .value = std::nullopt,
                      .headers = {}};
  if (contents != nullptr) {
    fields.key = contents->key;
    fields.value = contents->value;
    for (const client::Header& header : contents->headers) {
      fields.headers.push_back({header.key, header.value});
    }
  }
  printer_->add(fields);
}

}  // namespace tidelog::tools
