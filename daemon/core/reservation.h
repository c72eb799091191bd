// Nodes kept for those who may use them, from a time to a time. Pure.
#pragma once

#include "proto/event/event.h"

#include <algorithm>
#include <string>
#include <vector>

namespace rtrain::core {

/// While it lasts only jobs that name it (scheduling.reservation) run on its nodes. Before it begins, no job
/// is placed there that its time limit would let run into it; a job without a limit counts as one that never
/// ends.
struct Reservation {
  std::string name;
  std::vector<std::string> nodes;          ///< by name, sorted, at least one
  proto::UnixMs start_ms = 0, end_ms = 0;  ///< [start, end), wall time; start < end
  std::vector<std::string> users;          ///< who may use it; empty: everybody who names it
  std::string by;                          ///< who made it

  [[nodiscard]] bool is_for(const std::string& user) const {
    return users.empty() || std::ranges::find(users, user) != users.end();
  }
};

}  // namespace rtrain::core
