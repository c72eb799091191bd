// Whether a rank that got SIGKILL got it from the kernel for want of memory: the kernel counts what it kills.
#pragma once

#include "common/os/memory_group.h"

#include <string>

namespace rtrain::supervision {

/// The count of the control group that a rank's memory is charged to, from the rank's start on.
/// @thread the supervisor's only one.
class OomWatch {
 public:
  OomWatch() = default;
  /// @param cgroup  the rank's own group (v2); "": it shares its supervisor's
  explicit OomWatch(const std::string& cgroup);
  /// The rank was killed by SIGKILL, and not by its supervisor. "was killed by the kernel: out of memory
  /// (...)" with limit and peak when the count has gone up and nobody's death accounts for it yet; else "".
  [[nodiscard]] std::string explain();

 private:
  std::string group_;
  std::uint64_t before_ = 0;
};

/// The words. Pure.
[[nodiscard]] std::string oom_words(const std::string& group, const os::MemoryFacts& facts);

}  // namespace rtrain::supervision
