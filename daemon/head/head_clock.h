// The time that the head counts on: the machine's, checked against what earlier heads of this state folder
// wrote down.
#pragma once

#include "common/os/trusted_clock.h"
#include "daemon/head/dispatcher.h"

namespace rtrain::head {

/// @thread the head's. The values of clock() refer to it.
class HeadClock {
 public:
  /// @param newest_ms  the newest time in the journal, for a folder whose head wrote nothing down; 0: none
  HeadClock(const std::string& state_dir, std::int64_t newest_ms, bool accept);
  /// Writes down how far it came.
  ~HeadClock();
  HeadClock(const HeadClock&) = delete;
  HeadClock& operator=(const HeadClock&) = delete;

  /// About once a second. Says in the log when a doubt begins or ends.
  void look(SteadyTime now);
  [[nodiscard]] Clock clock();

 private:
  void say() const;
  void keep();
  std::string path_;
  os::ClockReading reading_;
  os::TrustedClock trusted_;
  SteadyTime looked_, kept_;
};

}  // namespace rtrain::head
