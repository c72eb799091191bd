#include "daemon/head/sweeps/sweep_documents.h"

#include <cmath>

namespace rtrain::head {

proto::SweepDoc sweep_doc(const SweepEntry& entry) {
  const auto& state = entry.state;
  const auto& spec = *state.spec;
  proto::SweepDoc doc;
  doc.id = JobId(state.id);
  doc.name = spec.name;
  doc.state = core::to_string(state.phase);
  doc.reason = state.reason;
  doc.user = state.user;
  doc.metric = spec.metric;
  doc.mode = spec.maximize ? "max" : "min";
  doc.search = proto::to_string(spec.search.method);
  doc.schedule = proto::to_string(spec.schedule.kind);
  doc.submitted_ms = entry.submitted_ms;
  doc.ended_ms = entry.ended_ms;
  doc.trials = static_cast<std::int64_t>(state.trials.size());
  doc.trials_max = state.trials_max;
  doc.known = static_cast<std::int64_t>(state.known->size());
  for (const auto& trial : state.trials) ++doc.trials_by_state[std::string(core::to_string(trial.phase))];
  doc.gpu_hours = entry.gpu_s / 3600;
  if (state.best >= 0) {
    doc.best_trial = state.best;
    doc.best_value = state.trial(state.best).value(spec.maximize);
  }
  return doc;
}

proto::TrialDoc trial_doc(const core::SweepState& state, std::int64_t number) {
  const auto& trial = state.trial(number);
  proto::TrialDoc doc;
  doc.trial = number;
  doc.state = core::to_string(trial.phase);
  doc.job = trial.job;
  doc.by = trial.by;
  doc.params = state.space->to_json(trial.point);
  if (const double value = trial.value(state.spec->maximize); std::isfinite(value)) doc.value = value;
  doc.resource = trial.resource;
  if (trial.rung >= 0) doc.rung = trial.rung;
  // Unbounded: a metric with bounds was not reported, or as no finite number.
  doc.violation = std::isfinite(trial.violation) ? trial.violation : std::numeric_limits<double>::max();
  doc.reason = trial.reason;
  return doc;
}

}  // namespace rtrain::head
