// What the trials of an earlier sweep tell the searcher of a new one. Pure.
#pragma once

#include "daemon/core/sweep/sweep.h"

namespace rtrain::core {

/// The trials of `earlier` that came to a value, by number, as far as their parameters are ones of `spec`.
/// kInvalidArgument: it measured something else, or none of its trials fits; the message says why.
[[nodiscard]] Result<std::vector<proto::KnownTrial>> known_trials(const SweepState& earlier,
                                                                  const proto::SweepSpec& spec);

/// Numbered from below zero, so that they are older than all of the sweep itself. Those whose parameters are
/// none of the space are left out.
[[nodiscard]] std::vector<Observation> observations_of(const std::vector<proto::KnownTrial>& known,
                                                       const Space& space, bool maximize);

}  // namespace rtrain::core
