// What a searcher knows of a trial. Pure.
#pragma once

#include "daemon/core/sweep/space.h"

namespace rtrain::core {

enum class ObservedState { kRunning, kPruned, kComplete };

struct Observation {
  std::int64_t trial = 0;
  Point point;
  ObservedState state = ObservedState::kRunning;
  double loss = 0;       ///< less is better; infinity for what is no number. Not of a running trial
  double resource = 0;   ///< of a pruned trial: the resource to which `loss` belongs
  double violation = 0;  ///< sum of what its constraints are off by; 0: all hold
};

}  // namespace rtrain::core
