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
/// Nothing: the folder tells nothing of memory.
[[nodiscard]] std::optional<MemoryFacts> memory_facts(const std::string& folder);

}  // namespace rtrain::os
