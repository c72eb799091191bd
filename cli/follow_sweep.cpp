#include "cli/follow_sweep.h"

#include "cli/job_rows.h"
#include "cli/sweep_requests.h"

namespace rtrain::cli {

Result<Follower::End> SweepFollower::run() {
  return poller_.run([this] { return look(); });
}

Result<bool> SweepFollower::look() {
  view_.set_width(console_.live() ? console_.width() : 0);
  const auto target = sweep_target(sweep_);
  // The sweep first: once it has ended its trials have.
  const auto sweep = read_sweep(get_, target);
  if (!sweep) return sweep.error();
  const auto trials = trials_of(get_, target, view_.first_open());
  if (!trials) return trials.error();
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  poller_.write(view_.on_sweep(*sweep, *trials, std::chrono::duration<double>(now).count()));
  return has_ended(sweep->state);
}

}  // namespace rtrain::cli
