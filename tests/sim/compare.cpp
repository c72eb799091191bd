#include "tests/sim/compare.h"

#include <sstream>

namespace rtrain::sim {
namespace {

template <class T>
std::string text(const T& value) {
  if constexpr (std::is_enum_v<T>)
    return std::to_string(static_cast<int>(value));
  else
    return (std::ostringstream() << value).str();
}
std::string text(const std::optional<int>& value) { return value ? std::to_string(*value) : "none"; }
std::string text(const proto::Json& value) { return value.dump(); }

/// Remembers the first part that differs.
struct Finder {
  template <class T>
  void operator()(const char* part, const T& memory, const T& disk) {
    if (found.empty() && !(memory == disk))
      found = std::string(part) + ": " + text(memory) + " in memory, " + text(disk) + " after a replay";
  }
  std::string found;
};

std::string failure_text(const std::optional<core::PastFailure>& failure) {
  if (!failure) return "none";
  return failure->kind + ", " + failure->message +
         (failure->before_first_step ? ", before the first step" : "");
}

std::string checkpoints_text(const std::vector<proto::CheckpointRecord>& checkpoints) {
  std::string text;
  for (const auto& checkpoint : checkpoints) {
    text += checkpoint.path + " " + checkpoint.metrics.dump() + " ";
    if (const auto& validation = checkpoint.validation)
      text += std::string(to_string(validation->status)) + " by " + to_string(validation->job) + " ";
  }
  return text;
}

}  // namespace

std::string difference(const core::JobState& a, const core::JobState& b) {
  Finder same;
  same("name", a.spec->name, b.spec->name);
  same("run_dir", a.run_dir, b.run_dir);
  same("phase", a.phase, b.phase);
  same("attempt", a.attempt.value(), b.attempt.value());
  same("submitted_ms", a.submitted_ms, b.submitted_ms);
  same("started_ms", a.started_ms, b.started_ms);
  same("ended_ms", a.ended_ms, b.ended_ms);
  same("placed_ms", a.placed_ms, b.placed_ms);
  same("not_before_ms", a.not_before_ms, b.not_before_ms);
  same("held", a.held, b.held);
  same("paused", a.paused, b.paused);
  same("failures", a.failures, b.failures);
  same("controller_failures", a.controller_failures, b.controller_failures);
  same("preemptions", a.preemptions, b.preemptions);
  same("drains", a.drains, b.drains);
  same("resizes", a.resizes, b.resizes);
  same("failed_in_row", a.failed_in_row, b.failed_in_row);
  same("last_failure", failure_text(a.last_failure), failure_text(b.last_failure));
  same("first_step", a.first_step, b.first_step);
  same("yield", a.yield.has_value(), b.yield.has_value());
  same("last_seq", a.last_seq, b.last_seq);
  same("reports", a.reports, b.reports);
  same("metrics", a.metrics, b.metrics);
  same("checkpoints", checkpoints_text(a.checkpoints), checkpoints_text(b.checkpoints));
  same("next_checkpoint_index", a.next_checkpoint_index, b.next_checkpoint_index);
  same("retry", a.retry, b.retry);
  same("verdict", a.verdict, b.verdict);
  same("failed_rank", a.failed_rank, b.failed_rank);
  same("validates", a.validates.has_value(), b.validates.has_value());
  same("cancel_requested", a.cancel_requested, b.cancel_requested);
  same("error", a.error ? a.error->message : "", b.error ? b.error->message : "");
  same("ranks", a.ranks.size(), b.ranks.size());
  for (std::size_t i = 0; i < a.ranks.size() && i < b.ranks.size(); ++i) {
    same("rank's node", a.ranks[i].placement.node, b.ranks[i].placement.node);
    same("rank's phase", a.ranks[i].phase, b.ranks[i].phase);
    same("rank's pid", a.ranks[i].pid, b.ranks[i].pid);
    same("rank started", a.ranks[i].started, b.ranks[i].started);
    same("rank yielded", a.ranks[i].yielded, b.ranks[i].yielded);
  }
  return same.found;
}

std::string difference(const core::SweepState& memory, const core::SweepState& disk) {
  Finder same;
  same("phase", memory.phase, disk.phase);
  same("trials", memory.trials.size(), disk.trials.size());
  same("active", memory.active, disk.active);
  same("best", memory.best, disk.best);
  same("undecided", memory.undecided, disk.undecided);
  for (std::size_t i = 0; i < std::min(memory.trials.size(), disk.trials.size()); ++i) {
    const auto& mine = memory.trials[i];
    const auto& stored = disk.trials[i];
    same("phase of a trial", mine.phase, stored.phase);
    same("job of a trial", mine.job.value(), stored.job.value());
    same("rung of a trial", mine.rung, stored.rung);
    same("loss of a trial", mine.loss, stored.loss);
    same("resource of a trial", mine.resource, stored.resource);
    same("what a trial goes on from", mine.from ? mine.from->checkpoint : "",
         stored.from ? stored.from->checkpoint : "");
    same("the job before of a trial", mine.replaced.value(), stored.replaced.value());
    same("parameters of a trial", memory.space->to_json(mine.point), disk.space->to_json(stored.point));
  }
  return same.found;
}

}  // namespace rtrain::sim
