#include "daemon/agent/bystanders.h"

#include <algorithm>

namespace rtrain::agent {

void Bystanders::taken(const std::set<int>& gpus, const std::vector<os::GpuProcess>& found) {
  for (const int gpu : gpus) before_[gpu].clear();
  for (const auto& process : found) before_[process.gpu].insert(process.pid);
}

bool Bystanders::is_one(const os::GpuProcess& process) const {
  const auto known = before_.find(process.gpu);
  return known == before_.end() || known->second.contains(process.pid);
}

bool Bystanders::are_all(const std::vector<os::GpuProcess>& found) const {
  return std::ranges::all_of(found, [this](const auto& process) { return is_one(process); });
}

}  // namespace rtrain::agent
