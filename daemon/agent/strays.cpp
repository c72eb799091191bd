#include "daemon/agent/strays.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>

namespace rtrain::agent {
namespace fs = std::filesystem;
namespace {

bool belongs(const fs::path& process, const std::vector<std::string>& rank_dirs) {
  constexpr std::string_view kMark = "RTRAIN_RANK_DIR=";
  std::ifstream environ(process / "environ");
  for (std::string variable; std::getline(environ, variable, '\0');)
    if (variable.starts_with(kMark) && std::ranges::find(rank_dirs, std::string_view(variable).substr(kMark.size())) != rank_dirs.end()) return true;
  return false;
}

bool kill_round(const std::vector<std::string>& rank_dirs) {
  bool found = false;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc{} || end != name.data() + name.size() || !belongs(entry.path(), rank_dirs)) continue;
    found = ::kill(pid, SIGKILL) == 0 || found;
  }
  return found;
}

}  // namespace

void kill_strays(const std::vector<std::string>& rank_dirs) {
  // One that forks while we look is met in the next round; bounded, a fork bomb is for cgroups.
  for (int round = 0; !rank_dirs.empty() && round < 8 && kill_round(rank_dirs); ++round) {
  }
}

}  // namespace rtrain::agent
