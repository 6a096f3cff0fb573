#include "log/journal.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/logging.h"
#include "log/io/storage_error.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

constexpr std::chrono::milliseconds kFullRetryAfter{100};
// Each attempt to grow may write as much as the ring holds, to find no space at the end.
constexpr std::chrono::seconds kGrowAgainAfter{10};

}  // namespace

Journal::Journal(const ShardEnvironment& environment, io::FileSystem& file_system,
                 const DataPaths& paths, const ShardLogOptions& options, StoredJournal stored,
                 JournalEvents& events)
    : environment_(environment),
      file_system_(file_system),
      paths_(paths),
      options_(options),
      files_(std::move(stored.files)),
      events_(events),
      id_(files_.front().header.journal_id) {
  for (const JournalFile& file : files_) ring_.add_file(file.header.file_bytes);
  for (const StoredWrite& write : stored.writes) {
    ring_.take(write.place, write.bytes, write.sequence);
    live_.adopt(write.sequence);
  }
  told_tail_ = stored.told_tail;
}

Journal::~Journal() {
  if (quiet_timer_ != 0) environment_.executor->cancel(quiet_timer_);
}

void Journal::adopt(JournalLane& lane, std::span<const HeldWrite> held) {
  for (const HeldWrite& one : held) {
    live_.hold(one.sequence);
    lane.unstable_.push_back({&live_.at(one.sequence), one.next, 0, true});
  }
  if (!held.empty()) holders_.hold(lane, held.front().sequence);
}

void Journal::stage(JournalLane& lane) {
  if (lane.tail_->untaken_bytes() > 0) turns_.add(lane);
}

void Journal::unstage(JournalLane& lane) {
  if (lane.tail_->untaken_bytes() == 0) turns_.remove(lane);
}

void Journal::end_of_turn() {
  while (!failed_ && in_flight_ < options_.journal_writes_in_flight_max) {
    if (!truncates_.empty() ? !start_truncate() : turns_.empty() || !start_write()) break;
  }
}

std::size_t Journal::batch_bytes_max() const {
  // The ring's last file is half of all when it has grown to its full size.
  const std::uint64_t largest =
      std::max<std::uint64_t>(options_.journal_bytes_max / 2, options_.journal_bytes_min);
  const std::uint64_t room = (largest - kJournalDataStart) / 2 - 2 * io::kBlockBytes;
  return static_cast<std::size_t>(room - kWriteHeaderBytes - kJournalEntryBytes);
}

std::uint64_t Journal::wanted_bytes() const {
  std::uint64_t bytes = kWriteHeaderBytes;
  const Fifo<JournalLane*>& lanes = turns_.lanes();
  for (std::size_t i = 0; i < lanes.size() && bytes < options_.journal_write_bytes_max; ++i) {
    bytes += kJournalEntryBytes + lanes[i]->tail_->untaken_bytes();
  }
  return align_up(std::min<std::uint64_t>(bytes, options_.journal_write_bytes_max),
                  io::kBlockBytes);
}

bool Journal::start_write() {
  const std::uint64_t least = align_up(
      kWriteHeaderBytes + kJournalEntryBytes + turns_.current().tail_->first_untaken_bytes(),
      io::kBlockBytes);
  const std::uint64_t wanted = std::max(wanted_bytes(), least);
  const auto place = ring_.find(least, wanted);
  if (!place) {
    ring_is_full(least);
    return false;
  }
  auto write = new_write();
  take_entries(*write, std::min(place->room, wanted));
  send(std::move(write), *place);
  return true;
}

void Journal::take_entries(JournalWrite& write, std::uint64_t budget) {
  std::uint64_t used = kWriteHeaderBytes;
  while (!turns_.empty()) {
    JournalLane& lane = turns_.current();
    const std::uint64_t room = budget - std::min(budget, used + kJournalEntryBytes);
    if (lane.tail_->first_untaken_bytes() > room) break;
    const LogTail::Taken taken =
        lane.tail_->take(std::min(static_cast<std::size_t>(room), turns_.credit()), pieces_);
    entries_.push_back(
        {.id = lane.id_,
         .kind = EntryKind::kAppend,
         .durable_end = broken(Rule::kDurableEndsAreDurable) ? taken.next : lane.durable_end_,
         .base = taken.base,
         .next = taken.next,
         .length = static_cast<std::uint32_t>(taken.bytes),
         .incarnation = lane.incarnation_,
         .checksum = taken.checksum});
    unproven_.named(lane);
    add_part(write, lane, taken.next, taken.bytes);
    used += kJournalEntryBytes + taken.bytes;
    turns_.took(taken.bytes, lane.tail_->untaken_bytes() > 0);
  }
}

void Journal::add_part(JournalWrite& write, JournalLane& lane, Offset next, std::size_t bytes) {
  write.lanes.push_back(&lane);
  if (lane.unstable_.empty()) holders_.hold(lane, live_.next_sequence());  // which it will have
  lane.in_flight_.push_back({&write, next, bytes, false});
  lane.unstable_.push_back({&write, next, bytes, false});
  ++write.holds;
}

bool Journal::start_truncate() {
  Truncate& truncate = truncates_.front();
  const std::uint64_t bytes =
      align_up(kWriteHeaderBytes + kJournalEntryBytes + truncate.head.size(), io::kBlockBytes);
  const auto place = ring_.find(bytes, bytes);
  if (!place) {
    ring_is_full(bytes);
    return false;
  }
  auto write = new_write();
  entries_.push_back(truncate.entry);
  if (!truncate.head.empty()) pieces_.push_back(truncate.head);
  add_part(*write, *truncate.lane, truncate.entry.next, 0);  // counted when appended
  ++write->holds;                                            // until release()
  write->truncated = std::move(truncate.done);
  send(std::move(write), *place);
  truncates_.pop_front();
  return true;
}

// A write without entries: it says which space is free.
void Journal::start_bare(const JournalRing::Place& place) { send(new_write(), place); }

void Journal::ring_is_full(std::uint64_t least) {
  // A lone block in the middle of a file may halve its room.
  if (2 * least > ring_.largest_write()) grow(2 * least);
  if (live_.tail_sequence() > told_tail_ &&
      ring_.bytes_below(live_.tail_sequence()) > io::kBlockBytes) {
    if (const auto place = ring_.find_reserve()) start_bare(*place);
    return;
  }
  if (asked_full_tail_ != live_.tail_sequence()) {
    asked_full_tail_ = live_.tail_sequence();
    ask_for_room(live_.next_sequence(), Room::kNeeded);
  }
}

std::unique_ptr<JournalWrite> Journal::new_write() {
  entries_.clear();
  pieces_.clear();
  return live_.make();
}

void Journal::send(std::unique_ptr<JournalWrite> write, const JournalRing::Place& place) {
  std::size_t used = kWriteHeaderBytes + entries_.size() * kJournalEntryBytes;
  for (const auto& piece : pieces_) used += piece.size();
  write->bytes = static_cast<std::size_t>(align_up(used, io::kBlockBytes));
  write->place = place;
  write->image = environment_.buffers->take(write->bytes);
  JournalWrite& sent = live_.add(std::move(write));
  told_tail_ = std::max(told_tail_, sent.tail);

  std::byte* at = sent.image.data() + kWriteHeaderBytes;
  for (const JournalEntry& entry : entries_) {
    encode_journal_entry(entry, at);
    at += kJournalEntryBytes;
  }
  for (const auto& piece : pieces_) {
    std::memcpy(at, piece.data(), piece.size());
    at += piece.size();
  }
  std::fill(at, sent.image.data() + sent.bytes, std::byte{0});
  encode_write_header(
      {.kind = WriteKind::kJournal,
       .file_id = id_,
       .sequence = sent.sequence,
       .bytes_used = static_cast<std::uint32_t>(used),
       .entries = static_cast<std::uint32_t>(entries_.size()),
       .durable =
           broken(Rule::kDurableSequenceIsDurable) ? sent.sequence - 1 : live_.durable_sequence(),
       .first = sent.tail,
       .position = journal_position(place.file, place.position)},
      sent.image.bytes());
  ring_.take(place, sent.bytes, sent.sequence);
  if (broken(Rule::kTailIsStableFirst)) ring_.free_below(sent.tail);
  ++in_flight_;
  ++writes_;
  write_bytes_ += sent.bytes;
  submit(sent);
}

void Journal::submit(JournalWrite& write) {
  const std::array<std::span<const std::byte>, 1> pieces{write.image.bytes().first(write.bytes)};
  const bool plain =
      broken(Rule::kJournalWritesAreStable) || (write.truncated && broken(Rule::kCutIsJournalled));
  environment_.queue->write(
      *files_[write.place.file].file, FilePosition(write.place.position), pieces,
      plain ? io::Durability::kPlain : io::Durability::kDurable,
      [this, &write, alive = std::weak_ptr<bool>(alive_)](const Result<>& result) {
        if (!alive.expired()) completed(write, result);
      });
}

void Journal::completed(JournalWrite& write, const Result<>& result) {
  if (failed_) return;
  if (!result && !broken(Rule::kFailedWriteIsNoWrite)) {
    if (!io::is_final(result.error())) {
      if (!std::exchange(write.lacks_space, true)) ++lacking_;
      events_.journal_lacks_space(lacking_);
      // The bytes have offsets: the same write again, until there is space.
      environment_.executor->run_after(kFullRetryAfter,
                                       [this, &write, alive = std::weak_ptr<bool>(alive_)] {
                                         if (alive.expired() || failed_) return;
                                         submit(write);
                                         environment_.queue->submit();  // outside the shard's turn
                                       });
      return;
    }
    failed_ = true;
    events_.journal_failed(result.error());
    return;
  }
  if (std::exchange(write.lacks_space, false)) {
    events_.journal_lacks_space(--lacking_);
  }
  --in_flight_;
  last_activity_ = environment_.executor->clock().now();
  live_.completed(write);
  write.image = Buffer();
  ring_.free_below(write.tail);
  std::vector<Moved> moved;
  complete_parts(write, moved);
  auto truncated = std::move(write.truncated);
  write.truncated = nullptr;
  const std::uint64_t sequence = write.sequence;
  live_.retire();  // `write` may be gone
  for (const Moved& one : moved) one.lane->durable_moved(one.bytes);
  if (truncated) truncated(sequence);
  watch_space();
  arm_quiet_write();
}

void Journal::complete_parts(JournalWrite& write, std::vector<Moved>& moved) {
  for (JournalLane* lane : write.lanes) {
    if (lane == nullptr) continue;
    for (std::size_t i = 0; i < lane->in_flight_.size(); ++i) {
      if (lane->in_flight_[i].write == &write) lane->in_flight_[i].complete = true;
    }
    const std::size_t parts = lane->in_flight_.size();
    std::size_t bytes = 0;
    while (!lane->in_flight_.empty() &&
           (lane->in_flight_.front().complete || broken(Rule::kContiguousPrefix))) {
      // The destager may have made it durable first; only a truncation goes back.
      const Offset next = lane->in_flight_.front().next;
      lane->durable_end_ = write.truncated ? next : std::max(lane->durable_end_, next);
      bytes += lane->in_flight_.front().bytes;
      lane->in_flight_.pop_front();
    }
    if (lane->in_flight_.size() == parts) continue;
    moved.push_back({lane, bytes});
    unproven_.moved(*lane);
  }
  write.lanes.clear();
}

void Journal::stable(JournalLane& lane, Offset end) {
  const std::size_t held = lane.unstable_.size();
  while (!lane.unstable_.empty() && lane.unstable_.front().next <= end) {
    --lane.unstable_.front().write->holds;
    lane.unstable_.pop_front();
  }
  if (lane.unstable_.empty()) {
    holders_.release(lane);
  } else if (lane.unstable_.size() < held) {
    holders_.hold(lane, lane.unstable_.front().write->sequence);
  }
  if (lane.durable_end_ < end) {
    lane.durable_end_ = end;
    unproven_.moved(lane);
    arm_quiet_write();  // no completion may come that would
  }
  unstage(lane);
  live_.retire();
}

void Journal::release(std::uint64_t sequence) {
  live_.release(sequence);
  live_.retire();
}

void Journal::truncate(JournalLane& lane, Offset base, Offset end, std::vector<std::byte> head,
                       TruncateCallback done) {
  TIDELOG_CHECK(!lane.journalling() && lane.unstable_.empty() && lane.tail_->untaken_bytes() == 0,
                "a log is truncated when segments hold all of it");
  std::uint64_t chain = 0;
  for (std::size_t at = 0; at < head.size();) {
    chain = chain_checksum(chain, load_le<std::uint64_t>(head.data() + at + 88));
    at += wire::kBatchHeaderBytes + load_le<std::uint32_t>(head.data() + at + 16);
  }
  const JournalEntry entry{.id = lane.id_,
                           .kind = EntryKind::kTruncate,
                           .durable_end = end,
                           .base = base,
                           .next = end,
                           .length = static_cast<std::uint32_t>(head.size()),
                           .incarnation = lane.incarnation_,
                           .checksum = chain};
  truncates_.push_back({&lane, entry, std::move(head), std::move(done)});
}

void Journal::stop() {
  failed_ = true;
  if (quiet_timer_ != 0) environment_.executor->cancel(quiet_timer_);
  quiet_timer_ = 0;
}

void Journal::withdraw(JournalLane& lane) {
  turns_.remove(lane);
  unproven_.forget(lane);
}

void Journal::forget(JournalLane& lane) {
  withdraw(lane);
  live_.forget(lane);
  while (!lane.unstable_.empty()) {
    --lane.unstable_.front().write->holds;
    lane.unstable_.pop_front();
  }
  holders_.release(lane);
  lane.in_flight_.clear();
  live_.retire();
}

JournalCheckpoint Journal::checkpoint() const {
  JournalCheckpoint checkpoint{.journal_id = id_, .durable_sequence = live_.durable_sequence()};
  if (const auto oldest = ring_.oldest()) {
    checkpoint.oldest_sequence = oldest->sequence;
    checkpoint.oldest_position = journal_position(oldest->file, oldest->position);
  }
  return checkpoint;
}

void Journal::watch_space() {
  if (!is_half_full()) return;
  if (ring_.bytes() * 2 <= options_.journal_bytes_max) {
    grow(0);
    if (!is_nearly_full()) return;
  }
  if (live_.empty() || asked_tail_ == live_.tail_sequence()) return;
  asked_tail_ = live_.tail_sequence();
  ask_for_room(live_.middle_sequence(), Room::kWanted);
}

void Journal::ask_for_room(std::uint64_t sequence, Room room) {
  holders_.ask(sequence, room, [room](JournalLane& lane) { lane.make_room(room); });
}

void Journal::grow(std::uint64_t bytes_least) {
  const std::uint64_t bytes = ring_.bytes();
  if (growing_ || (bytes * 2 > options_.journal_bytes_max && bytes_least == 0)) return;
  if (environment_.executor->clock().now() < grow_again_at_) return;
  growing_ = true;
  JournalFileHeader header = files_.front().header;
  header.file_number = static_cast<std::uint32_t>(files_.size());
  header.ring_files = header.file_number + 1;
  header.file_bytes = std::max(
      bytes, align_up(bytes_least + kJournalDataStart + 2 * io::kBlockBytes, io::kBlockBytes));
  auto made = std::make_shared<Result<JournalFile>>(fail(ErrorCode::kCancelled, "not run"));
  environment_.blocking->run(
      [&file_system = file_system_, made, first = files_.front().header, header,
       again = growth_failed_, first_path = paths_.journal_file(header.shard, 0),
       path = paths_.journal_file(header.shard, header.file_number)] {
        *made = add_journal_file(file_system, first_path, first, path, header, again);
      },
      *environment_.executor,
      [this, made, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        growing_ = false;
        if (!*made && io::is_final(made->error())) {
          failed_ = true;
          return events_.journal_failed(made->error());
        }
        growth_failed_ = !*made;
        if (!*made) {
          // The ring stays as it is; logs destage more often.
          grow_again_at_ = environment_.executor->clock().now() + kGrowAgainAfter;
          log_warning(fmt::format("a journal cannot grow: {}", made->error().to_string()));
          return;
        }
        ring_.add_file((*made)->header.file_bytes);
        files_.front().header.ring_files = (*made)->header.ring_files;
        files_.push_back(std::move(**made));
      });
}

void Journal::arm_quiet_write() {
  if (quiet_timer_ != 0 || !unproven_.any() || failed_) return;
  if (broken(Rule::kQuietWrite)) return;
  quiet_timer_ = environment_.executor->run_after(options_.quiet_write_after, [this] {
    quiet_timer_ = 0;
    quiet_write();
  });
}

void Journal::quiet_write() {
  if (failed_) return;
  const auto quiet = environment_.executor->clock().now() - last_activity_;
  if (in_flight_ > 0) return;  // its completion arms the timer
  if (!turns_.empty() || quiet < options_.quiet_write_after) return arm_quiet_write();
  const std::size_t count =
      std::min(unproven_.count(), options_.journal_write_bytes_max / kJournalEntryBytes - 1);
  if (count == 0) return;
  const std::uint64_t bytes =
      align_up(kWriteHeaderBytes + count * kJournalEntryBytes, io::kBlockBytes);
  const auto place = ring_.find(bytes, bytes);
  if (!place) return arm_quiet_write();
  auto write = new_write();
  for (const JournalLane* lane : unproven_.take(count)) {
    entries_.push_back({.id = lane->id_,
                        .kind = EntryKind::kDurableEnd,
                        .durable_end = lane->durable_end_,
                        .base = lane->durable_end_,
                        .next = lane->durable_end_,
                        .incarnation = lane->incarnation_});
  }
  send(std::move(write), *place);
  environment_.queue->submit();  // outside the shard's turn
}

}  // namespace tidelog::log
