// What the kernel tells of the memory of a control group (v2, or the memory hierarchy of v1): its limit, and
// how many it killed for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rtrain::os {

struct MemoryFacts {
  std::uint64_t oom_kills =
      0;  ///< processes of the group that the kernel killed for want of memory, since the group was made
  std::optional<std::uint64_t> limit_bytes;  ///< nothing: none of its own
  std::optional<std::uint64_t> peak_bytes;   ///< nothing: the kernel does not tell
};

/// The folder that counts the memory of a process, from the texts of its /proc/PID/mountinfo and
/// /proc/PID/cgroup: its own group's, or the nearest one above that has a memory controller. "": there is
/// none.
[[nodiscard]] std::string memory_group(std::string_view mountinfo, std::string_view cgroup);
/// Of the calling process.
[[nodiscard]] std::string own_memory_group();
/// The same of a v2 group that is known by its folder: the group, or the nearest one above it.
[[nodiscard]] std::string memory_group_above(std::string folder);
/// The lowest limit of the process's own group and of those above it, as far as they are shown. Nothing: none
/// has one.
[[nodiscard]] std::optional<std::uint64_t> memory_limit(std::string_view mountinfo, std::string_view cgroup);
/// What processes started here may use together, by which an agent offers "memory".
struct UsableMemory {
  std::uint64_t machine_bytes = 0;
  std::optional<std::uint64_t> limit_bytes;  ///< of the control groups, where it is below machine_bytes
  [[nodiscard]] std::uint64_t bytes() const { return limit_bytes.value_or(machine_bytes); }
};
[[nodiscard]] UsableMemory usable_memory();

/// Nothing: the folder tells nothing of memory.
[[nodiscard]] std::optional<MemoryFacts> memory_facts(const std::string& folder);

}  // namespace rtrain::os
