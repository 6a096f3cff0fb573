// The part of the sender that numbers batches, so that brokers take each once (PROTOCOL.md,
// "Sending again").
//
// A refusal for its number says that a batch is not in the log now. Behind one that is still to be
// sent again that means nothing. At the head of what is unsettled it is a gap: what came before was
// refused for good, or given up. A new epoch makes the sequence whole. Into it goes only what is
// certainly not stored, and cannot come to be: a batch of the old epoch that was lost on its way
// may still arrive, but the gap keeps it out, unless the batch that makes the gap may arrive as
// well.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/producer/sender.h"

namespace tidelog::client_core {

bool Sender::has_identity(PartitionQueue& partition) {
  if (!options_.idempotent || partition.sequence.begun()) return true;
  if (const std::optional<ProducerId> id = identity_.id()) {
    partition.sequence.begin(*id);
    return true;
  }
  identity_.want();
  return false;
}

void Sender::note_out_of_sequence(PartitionQueue& partition, Batch& batch,
                                  const AnswerStatus& status) {
  batch.resolved = true;
  batch.out_of_sequence = true;
  batch.trouble = status.error();
  partition.recovering = true;
}

void Sender::heal(PartitionQueue& partition) {
  const Error trouble = *partition.in_flight.front()->trouble;
  const bool gap_only = trouble.code() == ErrorCode::kOutOfOrderSequence;
  // Without the broker's memory of this epoch nothing is known of what was lost in it.
  const bool doubtful = !gap_only || partition.sequence.in_doubt();
  pool_.log(fmt::format("{}; going on in a new epoch", trouble.message()));
  const BatchNumbers old = *partition.in_flight.front()->numbers;
  if (trouble.code() == ErrorCode::kFencedProducer || !partition.sequence.begin_epoch()) {
    identity_.retire(old.producer_id);
    partition.sequence = PartitionSequence();
  }
  std::deque<std::unique_ptr<Batch>> lost;
  for (auto* queue : {&partition.in_flight, &partition.retry}) {
    std::deque<std::unique_ptr<Batch>> kept;
    for (std::unique_ptr<Batch>& batch : *queue) {
      if (batch->maybe_stored && doubtful) {
        lost.push_back(std::move(batch));
        continue;
      }
      batch->numbers.reset();
      batch->out_of_sequence = false;
      batch->maybe_stored = false;
      kept.push_back(std::move(batch));
    }
    *queue = std::move(kept);
  }
  for (std::unique_ptr<Batch>& batch : lost) fail_batch(partition, std::move(batch), trouble);
}

}  // namespace tidelog::client_core
