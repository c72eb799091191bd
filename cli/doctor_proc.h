// What of /proc can be read here: a container or a chroot may have none, a part of it, or one that hides the
// processes of other users.
#pragma once

#include "proto/record/check.h"

#include <string>
#include <vector>

namespace rtrain::cli {

struct ProcFacts {
  bool is_mounted = true;
  bool hides_others = false;            ///< mounted with hidepid
  std::vector<std::string> unreadable;  ///< paths that rtrain reads
};

[[nodiscard]] ProcFacts look_at_proc();
/// Pure.
[[nodiscard]] proto::Check judge_proc(const ProcFacts& facts);

}  // namespace rtrain::cli
