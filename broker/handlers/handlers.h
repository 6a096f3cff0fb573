// One function per API, each in a file of its own. A handler decodes the request's table, answers
// or starts what will answer, and returns; it never waits. Thread: the connection's shard.
#pragma once

#include <cstdint>

#include "broker/connection.h"
#include "broker/frame_reader.h"

namespace tidelog::broker {

class Shard;

void handle_hello(Shard& shard, RequestTicket ticket, Frame frame);
// The second half of a hello that was found sound: on the shard that serves the connection from now
// on, which need not be the one that received it.
void answer_hello(Shard& shard, RequestTicket ticket, const Greeting& greeting);
void handle_ping(Shard& shard, RequestTicket ticket, Frame frame);
void handle_cancel(Shard& shard, RequestTicket ticket, Frame frame);
void handle_metadata(Shard& shard, RequestTicket ticket, Frame frame);
void handle_create_topic(Shard& shard, RequestTicket ticket, Frame frame);
void handle_delete_topic(Shard& shard, RequestTicket ticket, Frame frame);
void handle_alter_topic(Shard& shard, RequestTicket ticket, Frame frame);
void handle_add_partitions(Shard& shard, RequestTicket ticket, Frame frame);
void handle_delete_records(Shard& shard, RequestTicket ticket, Frame frame);
void handle_describe_topic(Shard& shard, RequestTicket ticket, Frame frame);
void handle_produce(Shard& shard, RequestTicket ticket, Frame frame);
void handle_fetch(Shard& shard, RequestTicket ticket, Frame frame);
void handle_list_offsets(Shard& shard, RequestTicket ticket, Frame frame);
void handle_epoch_end(Shard& shard, RequestTicket ticket, Frame frame);
void handle_init_producer_id(Shard& shard, RequestTicket ticket, Frame frame);
void handle_cluster_status(Shard& shard, RequestTicket ticket, Frame frame);
void handle_broker_settings(Shard& shard, RequestTicket ticket, Frame frame);

// Checks API key and version, and that the hello came first; then calls the handler.
void dispatch(Shard& shard, RequestTicket ticket, Frame frame);

}  // namespace tidelog::broker
