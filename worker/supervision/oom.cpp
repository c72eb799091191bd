#include "worker/supervision/oom.h"

#include <algorithm>
#include <cstdio>
#include <map>

namespace rtrain::supervision {
namespace {

/// Of each group, the count that the deaths told so far account for: ranks that share a group share its
/// count.
std::map<std::string, std::uint64_t>& accounted() {
  static std::map<std::string, std::uint64_t> counts;
  return counts;
}

std::string bytes_words(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace

OomWatch::OomWatch(const std::string& cgroup) : group_(cgroup.empty() ? "" : os::memory_group_above(cgroup)) {
  if (group_.empty()) group_ = os::own_memory_group();
  if (const auto facts = os::memory_facts(group_)) before_ = facts->oom_kills;
}

std::string OomWatch::explain() {
  const auto facts = os::memory_facts(group_);
  if (!facts) return {};
  auto& counted = accounted()[group_];
  counted = std::max(counted, before_);
  if (facts->oom_kills <= counted) return {};
  ++counted;
  return oom_words(group_, *facts);
}

std::string oom_words(const std::string& group, const os::MemoryFacts& facts) {
  std::string words = "was killed by the kernel: out of memory";
  if (facts.limit_bytes)
    words += ": the limit of " + group + " is " + bytes_words(*facts.limit_bytes);
  else
    words += ": the machine has none left, or a group above " + group + " has reached its limit";
  if (facts.peak_bytes) words += ", its peak was " + bytes_words(*facts.peak_bytes);
  return words;
}

}  // namespace rtrain::supervision
