// Questions about many partitions, each asked of its owner's shard, answered together. Included by
// handlers only: it shows FlatBuffers.
#pragma once

#include <utility>
#include <vector>

#include "broker/calls.h"
#include "broker/handlers/answers.h"
#include "broker/shard.h"

namespace tidelog::broker {

// Thread: its connection's shard; look_up runs on the owner's.
template <typename Asked, typename Found>
class Lookups final : public Call {
 public:
  struct Entry {
    TopicPartition id;
    Asked asked{};
    Result<Found> found = Found{};
  };
  using Done = std::move_only_function<void(Result<Found>)>;
  using LookUp = void (*)(Shard& owner, const TopicPartition& id, Asked asked, Done done);
  // Whether an answer to `asked` may need the disk: a call asks for kSlowAtOnce of those at a time,
  // so that calls take turns, however much each names.
  using IsSlow = bool (*)(Asked asked);
  static constexpr std::size_t kSlowAtOnce = 8;
  // Writes and finishes the answer's table.
  using Write = void (*)(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
                         const std::vector<Entry>& entries);

  Lookups(Shard& shard, RequestTicket ticket, std::vector<Entry> entries, LookUp look_up,
          Write write, IsSlow is_slow)
      : shard_(shard),
        ticket_(std::move(ticket)),
        entries_(std::move(entries)),
        look_up_(look_up),
        write_(write),
        is_slow_(is_slow) {}

  // Asks for each of `entries`, of which there is at least one.
  static void start(
      Shard& shard, RequestTicket ticket, std::vector<Entry> entries, LookUp look_up, Write write,
      IsSlow is_slow = [](Asked) { return false; }) {
    if (const Result<> fits = ticket.reserve(entries.size() * sizeof(Entry)); !fits) {
      return ticket.fail(fits.error());
    }
    shard.calls()
        .template add<Lookups>(shard, std::move(ticket), std::move(entries), look_up, write,
                               is_slow)
        .go_on();
  }

 private:
  // Asks for what may be asked now; answers when all is settled, which destroys this.
  void go_on() {
    if (std::exchange(going_on_, true)) return;  // an entry of this shard settled at once
    while (asked_ < entries_.size() && may_ask()) ask(asked_++);
    going_on_ = false;
    if (settled_ < entries_.size()) return;
    if (!left_out_) {
      flatbuffers::FlatBufferBuilder& to = shard_.builder();
      write_(to, ticket_.connection(), entries_);
      ticket_.answer(to);
    }
    shard_.calls().remove(*this);
  }

  // Nobody reads the answer once the connection is gone.
  bool may_ask() {
    if (!ticket_.connection().is_open()) {
      settled_ += entries_.size() - asked_;
      asked_ = entries_.size();
      left_out_ = true;
      return false;
    }
    return slow_ < kSlowAtOnce || !is_slow_(entries_[asked_].asked);
  }

  void ask(std::size_t index) {
    const TopicPartition id = entries_[index].id;
    const Asked asked = entries_[index].asked;
    if (is_slow_(asked)) ++slow_;
    shard_.router().send(shard_.router().owner_of(id), [home = shard_.index(), this, index, id,
                                                        asked, look_up = look_up_](Shard* owner) {
      look_up(*owner, id, asked, [owner, home, this, index](Result<Found> found) {
        owner->router().send(home, [this, index, found = std::move(found)](Shard*) mutable {
          settle(index, std::move(found));
        });
      });
    });
  }

  void settle(std::size_t index, Result<Found> found) {
    if (is_slow_(entries_[index].asked)) --slow_;
    entries_[index].found = std::move(found);
    ++settled_;
    go_on();
  }

  Shard& shard_;
  RequestTicket ticket_;
  std::vector<Entry> entries_;
  LookUp look_up_;
  Write write_;
  IsSlow is_slow_;
  std::size_t asked_ = 0;  // so many, the first ones
  std::size_t slow_ = 0;   // asked for and not settled
  std::size_t settled_ = 0;
  bool going_on_ = false;
  bool left_out_ = false;  // the connection went before all were asked for
};

}  // namespace tidelog::broker
