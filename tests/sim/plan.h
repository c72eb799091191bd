// What the jobs of a run do: drawn from the seed before it begins, so that it is known how each of them must
// end.
#pragma once

#include "proto/message/types.h"
#include "proto/sweep/sweep_spec.h"
#include "tests/sim/random.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::sim {

/// How one attempt of a job would go if nothing came between.
struct AttemptPlan {
  enum class End { kSuccess, kExit, kSignal, kHang, kNoStart };
  End end = End::kSuccess;
  int rank = 0;         ///< the one that does not succeed; the others run to their end
  int code = 0;         ///< exit code or signal
  double fraction = 1;  ///< of the run time, when it happens
};

/// Waits for an earlier job of the workload.
struct DependencyPlan {
  proto::DependencyKind kind;
  std::size_t on;
};

struct JobPlan {
  proto::JobSpec spec;  ///< its name is unique within the run, but for the jobs of an array
  std::string user;
  std::vector<DependencyPlan> depends_on;  ///< their numbers are known when it is submitted
  double submit_s = 0;                     ///< after the start of the run
  double cancel_s = -1;                    ///< after the submit was acknowledged; -1: never
  double run_s = 1;                        ///< of a rank that succeeds
  double report_every_s = 0;               ///< rank 0; 0: never
  int checkpoint_every = 0;                ///< every n-th report has one; 0: none
  /// of a trial: a rank ends after so many, each `report_every_s` long, those before its last checkpoint
  /// among them; 0: after `run_s`
  std::int64_t epochs = 0;
  /// a user holds it so long after the submit was acknowledged, for so long; -1: never
  double hold_s = -1, held_s = 1;
  /// what a worker takes to write a checkpoint and to end when it is asked for its place; below 0: it does
  /// not hear
  double yields_after_s = 0.1;
  double end_after_term_s = 0.1;      ///< what a rank takes to end after SIGTERM; below 0: it ignores it
  std::vector<AttemptPlan> attempts;  ///< the last one goes for all later ones
  [[nodiscard]] const AttemptPlan& attempt(Attempt number) const;
};

/// What the validation of the checkpoint with this index returns.
[[nodiscard]] double score(std::int64_t index);
/// The metric that report number `seq` of an attempt carries.
[[nodiscard]] double metric(const std::string& name, Attempt attempt, std::int64_t seq);
/// What a trial reports after this epoch, in whichever attempt.
[[nodiscard]] double loss(const std::string& name, std::int64_t epoch);

/// What an operator says of a node; at most one a node.
struct NodeOrderPlan {
  std::string node;
  double at_s = 0;
  bool drain = false;
  double deadline_s = -1;  ///< of a drain; below 0: none
  double lasts_s = -1;     ///< from when it was acknowledged until it is taken back; below 0: for ever
};

struct ReservationPlan {
  std::string name;
  std::vector<std::string> nodes, users;
  double create_s = 0;
  double begins_s = 0, lasts_s = 1;  ///< begins so long after it was asked for
  double delete_s = -1;              ///< after it was acknowledged; below 0: never
};

struct SweepPlan {
  proto::SweepSpec spec;  ///< its name is unique within the run
  std::string user;
  double submit_s = 0;
  /// a user pauses it so long after the submit was acknowledged, for so long; -1: never
  double pause_s = -1, paused_s = 1;
  double stop_s = -1;  ///< after the submit was acknowledged; -1: never
  /// a user holds jobs of trials that are paused, from so long after the submit was acknowledged; -1: never
  double hold_s = -1, held_s = 1;
  bool stop_now = false;
};

struct Workload {
  std::vector<JobPlan> jobs;
  /// what the jobs do that the head submits to validate checkpoints of `jobs`; by name, as those
  std::vector<JobPlan> validations;
  std::vector<SweepPlan> sweeps;
  std::vector<JobPlan> trials;  ///< what the jobs of `sweeps` do
  std::vector<NodeOrderPlan> orders;
  std::vector<ReservationPlan> reservations;
  std::map<std::string, const JobPlan*> by_name;
  [[nodiscard]] const JobPlan& plan(const std::string& name) const { return *by_name.at(name); }
};

struct WorkloadSize {
  int jobs = 24, nodes = 10;
  int sweeps = -1;  ///< below 0: two runs of five have one or two
};
[[nodiscard]] std::vector<proto::NodeInfo> make_nodes(Random& random, int nodes);
[[nodiscard]] AttemptPlan make_attempt(Random& random, int workers);
/// A sweep over jobs that report, and what each of its trials does.
void make_sweep(Random& random, int number, Workload& workload);
[[nodiscard]] Workload make_workload(Random& random, const WorkloadSize& size);

}  // namespace rtrain::sim
