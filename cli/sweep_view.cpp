#include "cli/sweep_view.h"

#include "cli/job_rows.h"
#include "cli/sweep_rows.h"
#include "cli/text.h"

#include <array>

namespace rtrain::cli {

namespace {

constexpr std::array<std::string_view, 5> kTrialEnds{"COMPLETED", "PRUNED", "FAILED", "INVALID", "CANCELLED"};

bool trial_has_ended(const proto::TrialDoc& trial) {
  return std::ranges::find(kTrialEnds, trial.state) != kTrialEnds.end();
}

std::string ended_line(const proto::SweepDoc& sweep, const proto::TrialDoc& trial, bool colour) {
  std::string line =
      "trial " + std::to_string(trial.trial) + ": " + styled(trial.state, state_style(trial.state), colour);
  if (trial.value)
    line += ", " + sweep.metric + " " + value_text(trial.value) + " at " + number(trial.resource);
  line += " (" + printable(params_line(trial.params), false) + ")";
  if (!trial.reason.empty()) line += ": " + printable(trial.reason, false);
  return line;
}

}  // namespace

Pieces SweepView::on_sweep(const proto::SweepDoc& sweep, std::span<const proto::TrialDoc> trials,
                           double now_s) {
  std::vector<std::string> lines;
  bool all_before = true;
  for (const auto& trial : trials) {
    const bool ended = trial_has_ended(trial);
    if (ended && !told_.contains(trial.trial)) lines.push_back(ended_line(sweep, trial, line_.colour()));
    all_before = all_before && ended;
    if (all_before) {
      first_open_ = trial.trial + 1;
      told_.erase(trial.trial);
    } else if (ended) {
      told_.insert(trial.trial);
    }
  }
  std::string now = "sweep " + rtrain::to_string(sweep.id) + ": " + std::to_string(sweep.trials) + " of " +
                    std::to_string(sweep.trials_max) + " trials";
  if (sweep.trials > 0) now += ": " + states_line(sweep.trials_by_state);
  if (sweep.best_trial)
    now += "; best trial " + std::to_string(*sweep.best_trial) + ", " + sweep.metric + " " +
           value_text(sweep.best_value);
  return line_.show(std::move(lines), now, has_ended(sweep.state), now_s);
}

}  // namespace rtrain::cli
