// What a schedule says of a trial. Pure.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace rtrain::core {

enum class TrialVerdict {
  kGoOn,
  kPause,   ///< writes a checkpoint, ends, and goes on when it is promoted
  kPrune,   ///< ends for good
  kFinish,  ///< it has all that the schedule gives to any trial
  kClone,   ///< goes on from the checkpoint of another one, with other parameters
};

struct TrialDecision {
  TrialVerdict verdict = TrialVerdict::kGoOn;
  std::string reason;       ///< "rank 5 of 9 at rung 2 (27), 3 go on"
  std::int64_t donor = -1;  ///< kClone
};

/// A paused trial that is to go on.
struct Promotion {
  std::int64_t trial = 0;
  int rung = 0;  ///< at which it paused
  std::string reason;
};

/// The loss of what is no number, and of a trial that failed: the worst.
inline constexpr double kWorstLoss = std::numeric_limits<double>::infinity();

}  // namespace rtrain::core
