#include "daemon/head/jobs/job_tally.h"

namespace rtrain::head {

void JobTally::enters(const core::JobState& state, core::JobPhase phase) { count(state, phase, 1); }
void JobTally::leaves(const core::JobState& state, core::JobPhase phase) { count(state, phase, -1); }

void JobTally::add_ended(const std::map<core::JobPhase, std::int64_t>& counts, int sign) {
  for (const auto& [phase, jobs] : counts) by_phase_[phase] += sign * jobs;
}

void JobTally::count(const core::JobState& state, core::JobPhase phase, int sign) {
  by_phase_[phase] += sign;
  if (core::is_terminal(phase)) return;
  const auto account = living_.try_emplace({state.spec->scheduling.queue, state.user}).first;
  auto& living = account->second;
  (phase == core::JobPhase::kQueued ? living.waiting : living.running) += sign;
  if (living.running == 0 && living.waiting == 0) living_.erase(account);
}

}  // namespace rtrain::head
