// What the head knows of time.
#pragma once

#include "daemon/head/deadlines.h"
#include "proto/event/event.h"

#include <functional>
#include <string>

namespace rtrain::head {

/// A test gives its own.
struct Clock {
  std::function<SteadyTime()> steady;  ///< for leases
  /// for records, and for what is due at a time of the day; one that does not jump
  std::function<proto::UnixMs()> wall;
  /// What is wrong with the machine's clock, "" nothing: no job is forgotten by age while there is a doubt.
  std::function<std::string()> doubt = {};
  [[nodiscard]] static Clock real();
};

}  // namespace rtrain::head
