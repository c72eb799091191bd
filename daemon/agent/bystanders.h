// Which processes on a GPU are none of an agent's ranks.
#pragma once

#include "common/os/nvml.h"

#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace rtrain::agent {

/// What was on a GPU before a rank got it is not the rank's: a job is not held up for it. What came later may
/// be of a rank that has ended and whose memory the driver has not freed yet.
class Bystanders {
 public:
  /// A rank has `gpu`, and what was there before it is not known.
  void taken(int gpu) { before_.try_emplace(gpu); }
  /// A rank is to get `gpus`, on which `found` runs now.
  void taken(const std::set<int>& gpus, const std::vector<os::GpuProcess>& found);
  [[nodiscard]] bool is_one(const os::GpuProcess& process) const;
  [[nodiscard]] bool are_all(const std::vector<os::GpuProcess>& found) const;

 private:
  /// By GPU that a rank of this agent has or had: the processes that were there when the last one started.
  std::map<int, std::set<std::int64_t>> before_;
};

}  // namespace rtrain::agent
