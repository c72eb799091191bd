#include "daemon/head/sweeps/trial_spec.h"

#include "proto/sweep/sweep_reader.h"

namespace rtrain::head {

namespace {
constexpr std::size_t kNameMax = 128;  // of a job
}  // namespace

Result<proto::JobSpec> trial_spec(const core::SweepState& state, std::int64_t trial) {
  auto spec = proto::job_of(*state.spec, state.space->to_json(state.trial(trial).point));
  if (!spec) return spec.error();
  const auto suffix = "-" + std::to_string(trial);
  spec->name = state.spec->name.substr(0, kNameMax - suffix.size()) + suffix;
  if (const auto& from = state.trial(trial).from) spec->resume_from_checkpoint = from->checkpoint;
  if (state.spec->idle) spec->scheduling.priority = kIdlePriority;
  if (auto storable = proto::reads_back(*spec); !storable) return storable.error();
  return spec;
}

}  // namespace rtrain::head
