// Processes by an identity that a later one of the same number does not have.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::os {

/// The boot this machine is in: /proc/sys/kernel/random/boot_id. "" when it cannot be read.
[[nodiscard]] const std::string& boot_id();

/// Of proc(5), stat.
struct ProcessStat {
  char state = 0;  ///< R, S, D (an uninterruptible wait), Z (ended, not reaped), ...
  pid_t parent = 0, session = 0;
  std::uint64_t start_ticks = 0;  ///< clock ticks between the boot and its start
};
/// Nothing when there is no such process. A zombie is one.
[[nodiscard]] std::optional<ProcessStat> stat_of(pid_t pid);
/// Zombies among them. Empty as well when there is no such process.
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  ///< proc(5), stat, starttime: clock ticks since the boot
  std::string boot;               ///< boot_id() of that time
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};
/// Nothing when there is no such process. A zombie is one.
[[nodiscard]] std::optional<ProcessIdentity> identify(pid_t pid);

/// What becomes of a number that was written down once.
enum class ProcessFate {
  kRuns,      ///< this very process, not yet ended
  kGone,      ///< it has ended (or waits to be reaped), and no other process has its number
  kReplaced,  ///< the number is another process's now: it must not be signalled
};
[[nodiscard]] ProcessFate fate_of(const ProcessIdentity& process);

/// Sends `signal` to the process group that `leader` led, unless its number is another process's by now. A
/// number is not given out again while a group bears it, so the rest of a group whose leader has ended is
/// still that group. True when something was signalled.
bool signal_group(const ProcessIdentity& leader, int signal);

}  // namespace rtrain::os
