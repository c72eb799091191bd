// What the jobs of a run do: drawn from the seed before it begins, so that it is known how each of them must end.
#pragma once

#include "proto/message/types.h"
#include "tests/sim/random.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::sim {

/// How one attempt of a job would go if nothing came between.
struct AttemptPlan {
  enum class End { kSuccess, kExit, kSignal, kHang, kNoStart };
  End end = End::kSuccess;
  int rank = 0;          ///< the one that does not succeed; the others run to their end
  int code = 0;          ///< exit code or signal
  double fraction = 1;   ///< of the run time, when it happens
};

struct JobPlan {
  proto::JobSpec spec;              ///< its name is unique within the run
  double submit_s = 0;              ///< after the start of the run
  double cancel_s = -1;             ///< after the submit was acknowledged; -1: never
  double run_s = 1;                 ///< of a rank that succeeds
  double report_every_s = 0;        ///< rank 0; 0: never
  int checkpoint_every = 0;         ///< every n-th report has one; 0: none
  double hold_s = -1, held_s = 1;   ///< a user holds it so long after the submit was acknowledged, for so long; -1: never
  double yields_after_s = 0.1;      ///< what a worker takes to write a checkpoint and to end when it is asked for its place; below 0: it does not hear
  double end_after_term_s = 0.1;    ///< what a rank takes to end after SIGTERM; below 0: it ignores it
  std::vector<AttemptPlan> attempts;  ///< the last one goes for all later ones
  [[nodiscard]] const AttemptPlan& attempt(Attempt number) const;
};

/// The metric that report number `seq` of an attempt carries.
[[nodiscard]] double metric(const std::string& name, Attempt attempt, std::int64_t seq);

struct Workload {
  std::vector<JobPlan> jobs;
  std::map<std::string, const JobPlan*> by_name;
  [[nodiscard]] const JobPlan& plan(const std::string& name) const { return *by_name.at(name); }
};

struct WorkloadSize { int jobs = 24, nodes = 10; };
[[nodiscard]] std::vector<proto::NodeInfo> make_nodes(Random& random, int nodes);
[[nodiscard]] Workload make_workload(Random& random, const WorkloadSize& size);

}  // namespace rtrain::sim
