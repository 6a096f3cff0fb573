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
  // Writes and finishes the answer's table.
  using Write = void (*)(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
                         const std::vector<Entry>& entries);

  Lookups(Shard& shard, RequestTicket ticket, std::vector<Entry> entries, Write write)
      : shard_(shard), ticket_(std::move(ticket)), entries_(std::move(entries)), write_(write) {}

  // Asks for each of `entries`, of which there is at least one.
  static void start(Shard& shard, RequestTicket ticket, std::vector<Entry> entries, LookUp look_up,
                    Write write) {
    const std::size_t count = entries.size();
    if (const Result<> fits = ticket.reserve(count * sizeof(Entry)); !fits) {
      return ticket.fail(fits.error());
    }
    auto& call =
        shard.calls().template add<Lookups>(shard, std::move(ticket), std::move(entries), write);
    // The last entry to settle ends the call.
    for (std::size_t i = 0; i < count; ++i) {
      const TopicPartition id = call.entries_[i].id;
      shard.router().send(
          shard.router().owner_of(id), [home = shard.index(), call = &call, i, id, look_up,
                                        asked = call.entries_[i].asked](Shard* owner) {
            look_up(*owner, id, asked, [owner, home, call, i](Result<Found> found) {
              owner->router().send(home, [call, i, found = std::move(found)](Shard*) mutable {
                call->settle(i, std::move(found));
              });
            });
          });
    }
  }

 private:
  void settle(std::size_t index, Result<Found> found) {
    entries_[index].found = std::move(found);
    if (++settled_ < entries_.size()) return;
    flatbuffers::FlatBufferBuilder& to = shard_.builder();
    write_(to, ticket_.connection(), entries_);
    ticket_.answer(to);
    shard_.calls().remove(*this);  // destroys this
  }

  Shard& shard_;
  RequestTicket ticket_;
  std::vector<Entry> entries_;
  Write write_;
  std::size_t settled_ = 0;
};

}  // namespace tidelog::broker
