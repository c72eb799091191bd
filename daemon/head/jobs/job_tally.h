// How many jobs there are: by state, and of those that live by queue and user. Kept as they change, so that
// no answer counts them.
#pragma once

#include "daemon/core/job.h"

#include <map>
#include <string>
#include <utility>

namespace rtrain::head {

/// A value.
class JobTally {
 public:
  struct Living {
    int running = 0, waiting = 0;
  };  ///< running: it has an attempt

  /// The job is in `phase` from now on, or is not any more.
  void enters(const core::JobState& state, core::JobPhase phase);
  void leaves(const core::JobState& state, core::JobPhase phase);
  /// Jobs of which no more than this is known: they ended before the head started, or (negative) are
  /// forgotten.
  void add_ended(const std::map<core::JobPhase, std::int64_t>& counts, int sign);

  /// Of all jobs. A phase without any may be missing.
  [[nodiscard]] const std::map<core::JobPhase, std::int64_t>& by_phase() const { return by_phase_; }
  /// By queue and user; those without a job that lives are missing.
  [[nodiscard]] const std::map<std::pair<std::string, std::string>, Living>& living() const {
    return living_;
  }

 private:
  void count(const core::JobState& state, core::JobPhase phase, int sign);
  std::map<core::JobPhase, std::int64_t> by_phase_;
  std::map<std::pair<std::string, std::string>, Living> living_;
};

}  // namespace rtrain::head
