// Jobs, nodes and events for the tests of the head and its core.
#pragma once

#include "daemon/core/scheduler.h"
#include "proto/event/event.h"

#include <string>
#include <utility>
#include <vector>

namespace rtrain::test {

inline proto::JobSpec command_spec(int workers = 1, int max_failures = 0) {
  proto::JobSpec spec;
  spec.name = "job";
  spec.command = {"true"};
  spec.scaling_config.num_workers = workers;
  spec.run_config.storage_path = "/runs";
  spec.run_config.failure_config.max_failures = max_failures;
  spec.working_dir = "/";
  return spec;
}

/// `workers` ranks, one on each of the nodes n0, n1, ...
inline std::vector<proto::RankPlacement> spread(int workers) {
  std::vector<proto::RankPlacement> ranks;
  for (int rank = 0; rank < workers; ++rank) ranks.push_back({rank, "n" + std::to_string(rank), rank, 0, {}});
  return ranks;
}

inline proto::JobEvent placed(std::int64_t attempt, int workers) {
  return proto::AttemptPlaced{Attempt(attempt), spread(workers)};
}
inline proto::JobEvent forked(std::int64_t attempt, int rank) {
  return proto::RankForked{Attempt(attempt), rank, 1000 + rank};
}
inline proto::JobEvent entered(std::int64_t attempt, int rank) {
  return proto::RankEntered{Attempt(attempt), rank};
}
inline proto::JobEvent report(std::int64_t attempt, std::int64_t seq, proto::Json metrics = {{"loss", 1.0}}) {
  return proto::MetricsReported{Attempt(attempt), seq, std::move(metrics), {}, {}};
}
/// A report with a checkpoint that is to be validated.
inline proto::JobEvent report_to_validate(std::int64_t attempt, std::int64_t seq, std::int64_t index) {
  proto::CheckpointRecord checkpoint{
      "/runs/job_7/checkpoint_" + std::to_string(index), index, {{"loss", 1.0}}};
  checkpoint.validation.emplace();
  return proto::MetricsReported{Attempt(attempt), seq, {{"loss", 1.0}}, std::move(checkpoint), {}};
}
inline proto::JobEvent validated(std::int64_t index, proto::Json metrics = {{"accuracy", 0.9}}) {
  return proto::ValidationEnded{index, proto::ValidationStatus::kValidated, std::move(metrics), {}};
}
inline proto::JobEvent exited(std::int64_t attempt, int rank, int code = 0) {
  proto::RankFinished event{Attempt(attempt), rank, {}, {}, {}, false};
  event.status.exit_code = code;
  return event;
}
inline proto::JobEvent killed(std::int64_t attempt, int rank, int signal = 9) {
  proto::RankFinished event{Attempt(attempt), rank, {}, {}, {}, false};
  event.status.signal = signal;
  return event;
}
inline proto::JobEvent lost(std::int64_t attempt, int rank) {
  proto::RankFinished event{
      Attempt(attempt), rank, {}, proto::RankError{"lost", "the node went away", {}}, {}, false};
  event.status.lost = true;
  return event;
}
/// Exit code 0 after it was asked to yield, with more to do.
inline proto::JobEvent yielded(std::int64_t attempt, int rank) {
  auto event = std::get<proto::RankFinished>(exited(attempt, rank));
  event.yielded = true;
  return event;
}
/// The training function threw.
inline proto::JobEvent threw(std::int64_t attempt, int rank, const std::string& what = "loss is NaN") {
  auto event = std::get<proto::RankFinished>(exited(attempt, rank, 1));
  event.error = proto::RankError{"exception", what, {}};
  return event;
}
inline proto::JobEvent first_step(std::int64_t attempt) { return proto::FirstStep{Attempt(attempt)}; }
inline proto::JobEvent yield(std::int64_t attempt, proto::YieldCause cause = proto::YieldCause::kPreempted,
                             bool retry = true) {
  return proto::YieldRequested{Attempt(attempt), cause, "job 9 needs its place", 20, retry};
}
inline proto::JobEvent time_limit(std::int64_t attempt, double limit_s = 60) {
  return proto::TimeLimitReached{Attempt(attempt), limit_s};
}
inline proto::JobEvent hold(std::string by = "a user") { return proto::JobHeld{std::move(by)}; }
inline proto::JobEvent release(std::string by = "a user") { return proto::JobReleased{std::move(by)}; }
inline proto::JobEvent ended(std::int64_t attempt) { return proto::AttemptEnded{Attempt(attempt)}; }
inline proto::JobEvent cancel(std::string by = "a user") { return proto::CancelRequested{std::move(by)}; }

/// A node that offers `cpus`, and so many GPUs of its own.
inline core::NodeView node(const std::string& name, double cpus, int gpus = 0, proto::Resources more = {}) {
  core::NodeView view;
  view.info.name = name;
  view.info.address = "10.0.0.1";
  view.info.resources = std::move(more);
  view.info.resources["CPU"] = cpus;
  if (gpus > 0) view.info.resources["GPU"] = gpus;
  for (int index = 0; index < gpus; ++index)
    view.info.gpus.push_back({index, "GPU-" + std::to_string(index), "test", 1u << 30});
  return view;
}

}  // namespace rtrain::test
