#include "cli/doctor_proc.h"

#include "common/os/file.h"

namespace rtrain::cli {
namespace {

using proto::Health;

/// The kernel makes these files as they are read: a few bytes show whether they can be.
bool can_be_read(const std::string& path) {
  const auto text = os::read_file(path, 1);
  return text || text.error().code() == Errc::kLimit;
}

std::string list_of(const std::vector<std::string>& paths) {
  std::string list;
  for (const auto& path : paths) list += (list.empty() ? "" : ", ") + path;
  return list;
}

}  // namespace

ProcFacts look_at_proc() {
  ProcFacts facts;
  facts.is_mounted = can_be_read("/proc/self/stat");
  if (!facts.is_mounted) return facts;
  for (const char* path :
       {"/proc/self/mountinfo", "/proc/self/cgroup", "/proc/sys/kernel/random/boot_id", "/proc/net/tcp"})
    if (!can_be_read(path)) facts.unreadable.emplace_back(path);
  facts.hides_others = !can_be_read("/proc/1/stat");  // there always is a process 1
  return facts;
}

proto::Check judge_proc(const ProcFacts& facts) {
  if (!facts.is_mounted)
    return {"/proc",
            Health::kFailure,
            "is not mounted: rtrain finds neither its own folder nor what its ranks have started",
            "mount -t proc proc /proc; in a chroot or a container, give it one",
            {}};
  if (!facts.unreadable.empty())
    return {
        "/proc",
        Health::kWarning,
        "cannot be read: " + list_of(facts.unreadable),
        "rtrain tells users, restarts of the machine and control groups apart by them: mount /proc whole, "
        "without subset=pid",
        {}};
  if (facts.hides_others)
    return {
        "/proc",
        Health::kWarning,
        "hides the processes of other users (hidepid): whether a head or an agent of another user runs here "
        "is not known",
        "run the check as root to know; ranks are not concerned: they have the agent's user",
        {}};
  return {"/proc", Health::kOk, "all that rtrain reads can be read", "", {}};
}

}  // namespace rtrain::cli
