// The fields of the values that several messages, events and documents share. Private to proto/*.cpp and
// daemon/store.
#pragma once

#include "proto/fields.h"
#include "proto/message/flight.h"
#include "proto/message/types.h"

namespace rtrain::proto {

void visit_fields(auto& visit, Is<TrainFunc> auto& v) {
  visit("library", v.library);
  visit("name", v.name);
}
void visit_fields(auto& visit, Is<GpuInfo> auto& v) {
  visit("index", codec::Ranged{v.index, 0, 1 << 20});
  visit("uuid", v.uuid);
  visit("name", v.name);
  visit("memory_bytes", v.memory_bytes);
}
void visit_fields(auto& visit, Is<NodeInfo> auto& v) {
  visit("name", v.name);
  visit("address", v.address);
  visit("resources", v.resources);
  visit("gpus", v.gpus);
  visit("labels", v.labels);
  visit("versions", v.versions);
}
void visit_fields(auto& visit, Is<RankPlacement> auto& v) {
  visit("rank", codec::Required{v.rank});
  visit("node", codec::Required{v.node});
  visit("node_rank", v.node_rank);
  visit("local_rank", v.local_rank);
  visit("gpus", v.gpus);
}
void visit_fields(auto& visit, Is<ExitStatus> auto& v) {
  visit("exit_code", v.exit_code);
  visit("signal", v.signal);
  visit("lost", v.lost);
}
void visit_fields(auto& visit, Is<RankError> auto& v) {
  visit("kind", v.kind);
  visit("message", v.message);
  visit("log_tail", v.log_tail);
}
void visit_fields(auto& visit, Is<JobError> auto& v) {
  visit("kind", v.kind);
  visit("message", v.message);
  visit("rank", v.rank);
  visit("node", v.node);
  visit("attempt", codec::count(v.attempt));
  visit("status", v.status);
  visit("log_tail", v.log_tail);
}
void visit_fields(auto& visit, Is<FlightGroup> auto& v) {
  visit("path", v.path);
  visit("name", v.name);
  visit("ranks", v.ranks);
  visit("started", codec::count(v.started));
}
void visit_fields(auto& visit, Is<Flight> auto& v) {
  visit("group", v.group);
  visit("seq", codec::count(v.seq));
  visit("operation", v.operation);
  visit("purpose", v.purpose);
  visit("unit", v.unit);
  visit("dtype", v.dtype);
  visit("shape", v.shape);
  visit("bytes", codec::count(v.bytes));
  visit("detail", v.detail);
  visit("peer", v.peer);
  visit("state", v.state);
  visit("age_s", v.age_s);
  visit("took_s", v.took_s);
}
void visit_fields(auto& visit, Is<RankSnapshot> auto& v) {
  visit("stage", v.stage);
  visit("epoch", v.epoch);
  visit("step", v.step);
  visit("idle_s", v.idle_s);
  visit("place", v.place);
  visit("place_s", v.place_s);
  visit("groups", v.groups);
  visit("flights", v.flights);
  visit("stack", v.stack);
  visit("stack_error", v.stack_error);
}
void visit_fields(auto& visit, Is<ArrayTask> auto& v) {
  visit("id", codec::Required{v.id});
  visit("index", v.index);
  visit("count", v.count);
  visit("min", v.min);
  visit("max", v.max);
  visit("step", v.step);
  visit("max_running", v.max_running);
}
void visit_fields(auto& visit, Is<SweepTrial> auto& v) {
  visit("sweep", codec::Required{v.sweep});
  visit("trial", codec::count(v.trial));
}
void visit_fields(auto& visit, Is<CheckpointValidation> auto& v) {
  visit("status", v.status);
  visit("fn_kwargs", v.fn_kwargs);
  visit("timeout_s", v.timeout_s);
  visit("job", v.job);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<CheckpointRecord> auto& v) {
  visit("path", codec::Required{v.path});
  visit("index", codec::count(v.index));
  visit("metrics", v.metrics);
  visit("validation", v.validation);
  visit("pinnable", v.pinnable);
}
void visit_fields(auto& visit, Is<ValidatedCheckpoint> auto& v) {
  visit("job", codec::Required{v.job});
  visit("index", codec::count(v.index));
  visit("path", v.path);
}

}  // namespace rtrain::proto
