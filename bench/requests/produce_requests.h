// Produce requests of one batch each, made before the clock runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "bench/requests/request_client.h"

namespace tidelog::bench {

// Records of 1,000 bytes, or one that is shorter, so that a batch has about `batch_bytes`, and its
// exact size. No compression, no producer id.
SharedBytes make_batch(const TopicPartition& partition, std::size_t batch_bytes);

// Requests go to the partitions in turn.
class ProduceRequests : public RequestSource {
 public:
  // `outstanding`: as in the load.
  ProduceRequests(std::span<const TopicPartition> partitions, std::size_t batch_bytes,
                  std::size_t outstanding);

  void append(std::size_t id, std::vector<iovec>& to) override;
  std::size_t take_answers(std::span<const std::byte> bytes,
                           std::vector<std::size_t>& ids) override;

  std::size_t batch_bytes() const { return requests_.front().batch.size(); }

 private:
  struct Request {
    SharedBytes head;  // prefix, table and padding
    SharedBytes batch;
  };

  std::vector<Request> requests_;              // by partition
  std::vector<std::vector<std::byte>> heads_;  // by id, with its correlation id
  std::size_t next_ = 0;
};

}  // namespace tidelog::bench
