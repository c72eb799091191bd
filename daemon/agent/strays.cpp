#include "daemon/agent/strays.h"

#include "common/os/cgroup.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace rtrain::agent {
namespace fs = std::filesystem;
namespace {

bool belongs(const fs::path& process, const std::vector<std::string>& rank_dirs) {
  constexpr std::string_view kMark = "RTRAIN_RANK_DIR=";
  std::ifstream environ(process / "environ");
  for (std::string variable; std::getline(environ, variable, '\0');)
    if (variable.starts_with(kMark) &&
        std::ranges::find(rank_dirs, std::string_view(variable).substr(kMark.size())) != rank_dirs.end())
      return true;
  return false;
}

bool kill_round(const std::vector<std::string>& rank_dirs) {
  bool found = false;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc{} || end != name.data() + name.size() || !belongs(entry.path(), rank_dirs))
      continue;
    found = ::kill(pid, SIGKILL) == 0 || found;
  }
  return found;
}

/// A process of the rank that lives, or 0.
pid_t alive_of(const Remains& rank) {
  if (rank.process && os::fate_of(*rank.process) == os::ProcessFate::kRuns) return rank.process->pid;
  if (rank.cgroup.empty() || os::is_cgroup_empty(rank.cgroup)) return 0;
  const auto inside = os::cgroup_processes(rank.cgroup);
  return inside.empty() ? 0 : inside.front();
}

}  // namespace

std::map<std::size_t, pid_t> kill_remains(const std::vector<Remains>& ranks) {
  std::vector<std::string> dirs;
  for (const auto& rank : ranks) {
    dirs.push_back(rank.dir);
    if (!rank.cgroup.empty()) os::kill_cgroup(rank.cgroup);
    // The leader of its group lives (a zygote's rank) or died with the keeper.
    if (rank.process) os::signal_group(*rank.process, SIGKILL);
  }
  // One that forks while we look is met in the next round; bounded, a fork bomb is for control groups.
  for (int round = 0; !dirs.empty() && round < 8 && kill_round(dirs); ++round) {
  }
  std::map<std::size_t, pid_t> alive;
  for (int tries = 0; tries < 100; ++tries) {
    alive.clear();
    for (std::size_t i = 0; i < ranks.size(); ++i)
      if (const auto pid = alive_of(ranks[i]); pid != 0) alive[i] = pid;
    if (alive.empty()) break;
    ::usleep(2000);
  }
  for (const auto& rank : ranks)
    if (!rank.cgroup.empty()) os::remove_cgroup(rank.cgroup);
  return alive;
}

}  // namespace rtrain::agent
