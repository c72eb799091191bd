// Control groups (cgroups v2) as a fence: whatever a process in a group forks is in it too, however it hides,
// and the kernel kills all of a group at once. No controller is needed, so any writable place in the
// hierarchy will do. Linux 5.14 and newer (cgroup.kill).
#pragma once

#include "common/base/result.h"

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace rtrain::os {

/// The folder of this process's own group in the v2 hierarchy, from the texts of /proc/self/mountinfo and
/// /proc/self/cgroup. kNotFound: no v2 hierarchy is mounted, or it does not show the group.
[[nodiscard]] Result<std::string> own_cgroup(std::string_view mountinfo, std::string_view cgroup);

/// Makes <own group>/<name>, in which make_cgroup() works. It is tried out: a process is moved into a group
/// there and the group is killed.
/// @return the folder. kNotFound (see above), kIo (no right to write there, or too old a kernel), with what
/// the system said.
[[nodiscard]] Result<std::string> make_cgroup_tree(const std::string& name);

/// Whether make_cgroup_tree(name) works in this place: what it has made is removed again.
/// @return this process's own group, in which it does; errors as above.
[[nodiscard]] Result<std::string> try_cgroup_tree(const std::string& name);

/// An empty group; existing is fine.
[[nodiscard]] Result<Done> make_cgroup(const std::string& path);
/// Moves the calling process in. For the child of a fork: allocates nothing. @return 0, or an errno.
[[nodiscard]] int join_cgroup(const char* procs_path) noexcept;
[[nodiscard]] std::string procs_of_cgroup(const std::string& path);
/// SIGKILL to all that are in it and in the groups below; none can fork away meanwhile. False: there is no
/// such group.
bool kill_cgroup(const std::string& path);
/// No process is left in it, or there is no such group.
[[nodiscard]] bool is_cgroup_empty(const std::string& path);
/// Those of the group and of the groups below.
[[nodiscard]] std::vector<pid_t> cgroup_processes(const std::string& path);
/// Removes an empty group with the empty groups below it. False: it is still there.
bool remove_cgroup(const std::string& path);

}  // namespace rtrain::os
