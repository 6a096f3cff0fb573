#include "client/producer/identity.h"

namespace tidelog::client_core {

Identity::Identity(Executor& executor, BrokerPool& pool, Inquiry::Options options,
                   std::uint64_t seed)
    : inquiry_(executor, pool, wire::ApiKey::kInitProducerId, "no producer id", options, seed) {
  inquiry_.on_turn(
      [this]() -> std::optional<Table> {
        if (id_) return std::nullopt;
        return encode_init_producer_id();
      },
      [this](const SharedBytes& table) { return take(table); });
}

void Identity::want() {
  if (!id_ && !inquiry_.is_under_way()) inquiry_.ask();
}

void Identity::retire(ProducerId used) {
  if (id_ == used) id_.reset();
}

Result<> Identity::take(const SharedBytes& table) {
  TIDELOG_ASSIGN(const InitProducerIdAnswer answer, decode_init_producer_id(table.bytes()));
  if (!answer.status.ok()) return fail(answer.status.error());
  id_ = answer.id;
  if (arrived_) arrived_();
  return {};
}

}  // namespace tidelog::client_core
