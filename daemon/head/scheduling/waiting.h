// Why a job of the queue waits.
#pragma once

#include "proto/event/event.h"

#include <string>

namespace rtrain::head {

struct Waiting {
  std::string reason;
  /// 1-based among those that wait; 0: it is not queued (held, for one)
  int position = 0;
  /// at the latest, if what runs keeps to its limits; 0: nobody can say
  proto::UnixMs expected_start_ms = 0;
};

}  // namespace rtrain::head
