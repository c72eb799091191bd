#include "common/os/memory_group.h"

#include "common/os/cgroup.h"
#include "common/os/file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

namespace rtrain::os {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimitedV1 = 1ULL << 60;  // v1 has no word for "no limit" but a number near 2^63

std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;  // "max" is no number
}

/// "oom_kill 3" among lines of a word and a number.
std::optional<std::uint64_t> counter_in(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string key;
  for (std::uint64_t value = 0; file >> key >> value;)
    if (key == name) return value;
  return std::nullopt;
}

/// The folder of the process's group in the memory hierarchy of v1; "": there is none, or it is not shown.
std::string memory_group_v1(std::string_view mountinfo, std::string_view cgroup) {
  std::string own;
  std::istringstream memberships{std::string(cgroup)};
  for (std::string line; std::getline(memberships, line);)
    if (const auto at = line.find(":memory:"); at != std::string::npos) own = line.substr(at + 8);
  if (own.empty()) return {};
  std::istringstream mounts{std::string(mountinfo)};
  for (std::string line; std::getline(mounts, line);) {
    const auto dash = line.find(" - cgroup ");
    if (dash == std::string::npos || line.find("memory", dash) == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skipped, root, point;
    fields >> skipped >> skipped >> skipped >> root >> point;
    if (root == "/") root.clear();
    if (own == root) return point;
    if (own.starts_with(root + "/")) return point + own.substr(root.size());
  }
  return {};
}

}  // namespace

std::string memory_group_above(std::string folder) {
  for (; folder.size() > 1; folder = fs::path(folder).parent_path().string())
    if (::access((folder + "/memory.events").c_str(), R_OK) == 0)
      return folder;
    else if (::access((folder + "/cgroup.procs").c_str(), F_OK) != 0)
      return {};  // above the hierarchy
  return {};
}

std::string memory_group(std::string_view mountinfo, std::string_view cgroup) {
  if (const auto own = own_cgroup(mountinfo, cgroup))
    if (auto found = memory_group_above(*own); !found.empty()) return found;
  const auto v1 = memory_group_v1(mountinfo, cgroup);
  return !v1.empty() && ::access((v1 + "/memory.oom_control").c_str(), R_OK) == 0 ? v1 : "";
}

std::string own_memory_group() {
  const auto mounts = read_file("/proc/self/mountinfo"), groups = read_file("/proc/self/cgroup");
  return mounts && groups ? memory_group(*mounts, *groups) : "";
}

std::optional<std::uint64_t> memory_limit(std::string_view mountinfo, std::string_view cgroup) {
  std::optional<std::uint64_t> lowest;
  const auto take = [&](std::optional<std::uint64_t> limit) {
    if (limit) lowest = std::min(lowest.value_or(*limit), *limit);
  };
  std::error_code none;
  if (const auto own = own_cgroup(mountinfo, cgroup))
    for (fs::path folder = *own; fs::exists(folder / "cgroup.procs", none); folder = folder.parent_path())
      take(number_in((folder / "memory.max").string()));
  if (const auto v1 = memory_group_v1(mountinfo, cgroup); !v1.empty())
    take(counter_in(v1 + "/memory.stat", "hierarchical_memory_limit"));
  return lowest && *lowest < kUnlimitedV1 ? lowest : std::nullopt;
}

UsableMemory usable_memory() {
  UsableMemory memory;
  memory.machine_bytes = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES))) *
                         static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PAGESIZE)));
  const auto mounts = read_file("/proc/self/mountinfo"), groups = read_file("/proc/self/cgroup");
  if (mounts && groups) memory.limit_bytes = memory_limit(*mounts, *groups);
  if (memory.limit_bytes && *memory.limit_bytes >= memory.machine_bytes) memory.limit_bytes.reset();
  return memory;
}

std::optional<MemoryFacts> memory_facts(const std::string& folder) {
  if (folder.empty()) return std::nullopt;
  MemoryFacts facts;
  if (const auto kills = counter_in(folder + "/memory.events", "oom_kill")) {
    facts.oom_kills = *kills;
    facts.limit_bytes = number_in(folder + "/memory.max");
    facts.peak_bytes = number_in(folder + "/memory.peak");
    return facts;
  }
  const auto kills = counter_in(folder + "/memory.oom_control", "oom_kill");
  if (!kills) return std::nullopt;
  facts.oom_kills = *kills;
  facts.limit_bytes = number_in(folder + "/memory.limit_in_bytes");
  if (facts.limit_bytes && *facts.limit_bytes >= kUnlimitedV1) facts.limit_bytes.reset();
  facts.peak_bytes = number_in(folder + "/memory.max_usage_in_bytes");
  return facts;
}

}  // namespace rtrain::os
