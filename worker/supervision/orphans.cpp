#include "worker/supervision/orphans.h"

#include "common/os/process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>

#include <unistd.h>

namespace rtrain::supervision {
namespace {

constexpr int kDeepest = 4096;  // processes looked at below one rank; a fork bomb is for control groups

/// All below `leader`, without it.
std::vector<pid_t> below(pid_t leader) {
  std::vector<pid_t> found = os::children_of(leader);
  for (std::size_t next = 0; next < found.size() && found.size() < kDeepest; ++next)
    for (const pid_t child : os::children_of(found[next])) found.push_back(child);
  return found;
}

/// The RTRAIN_RANK_DIR that a process was started with, or "".
std::string mark_of(pid_t pid) {
  constexpr std::string_view kMark = "RTRAIN_RANK_DIR=";
  std::ifstream environ("/proc/" + std::to_string(pid) + "/environ");
  for (std::string variable; std::getline(environ, variable, '\0');)
    if (variable.starts_with(kMark)) return variable.substr(kMark.size());
  return {};
}

}  // namespace

void Orphans::look(const std::vector<RankProcess>& running) {
  std::erase_if(seen_, [](const auto& seen) {
    const auto stat = os::stat_of(seen.first);
    return !stat || stat->start_ticks != seen.second.start_ticks;
  });
  for (const auto& rank : running)
    for (const pid_t pid : below(rank.pid))
      if (const auto stat = os::stat_of(pid)) seen_[pid] = {stat->start_ticks, rank.dir};
}

void Orphans::kill_below(pid_t leader) {
  for (const pid_t pid : below(leader)) ::kill(pid, SIGKILL);
}

pid_t Orphans::kill_left(const RankProcess& ended, const std::vector<RankProcess>& running) {
  pid_t alive = 0;
  for (const pid_t pid : os::children_of(::getpid())) {
    if (std::ranges::binary_search(running, pid, {}, &RankProcess::pid)) continue;
    const auto stat = os::stat_of(pid);
    if (!stat || stat->state == 'Z' || stat->state == 'X') continue;
    const auto seen = seen_.find(pid);
    const auto mark = mark_of(pid);
    const bool known = seen != seen_.end() && seen->second.start_ticks == stat->start_ticks;
    const bool of_ended =
        mark == ended.dir || stat->session == ended.pid || (known && seen->second.dir == ended.dir);
    const bool of_another = std::ranges::any_of(running, [&](const RankProcess& rank) {
      if (!mark.empty()) return mark == rank.dir;
      if (known) return seen->second.dir == rank.dir;
      return stat->session == rank.pid || rank.start_ticks <= stat->start_ticks;
    });
    if (!of_ended && of_another) continue;
    kill_below(pid);
    // else it has gone, or belongs to another user: nothing that we can do
    if (::kill(pid, SIGKILL) == 0) alive = pid;
  }
  return alive;
}

}  // namespace rtrain::supervision
