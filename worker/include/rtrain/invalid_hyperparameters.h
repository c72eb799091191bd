// What a training function throws for hyperparameters that nobody can train.
//   if (width % heads != 0) throw rtrain::InvalidHyperparameters("width is no multiple of heads");
#pragma once

#include <rtrain/export.h>

#include <stdexcept>

namespace rtrain {

/// Ends the job as FAILED with the kind `invalid_hyperparameters`, without a retry, whatever
/// failure_config.max_failures says. In a sweep the trial is INVALID: it does not count, and another is
/// drawn. With several ranks it is enough that one of them throws it.
class RTRAIN_API InvalidHyperparameters : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

}  // namespace rtrain
