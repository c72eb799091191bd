#include "common/os/process.h"

#include "common/os/file.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace rtrain::os {
namespace {

std::optional<ProcessStat> read_stat(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!text) return std::nullopt;
  const auto name_end = text->rfind(')');  // the name may hold anything, also blanks and brackets
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text->substr(name_end + 1));
  ProcessStat stat;
  std::string skipped;
  fields >> stat.state >> stat.parent >> skipped >> stat.session;
  for (int field = 7; field < 22; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  return fields ? std::optional(stat) : std::nullopt;
}

}  // namespace

const std::string& boot_id() {
  static const std::string kId = [] {
    auto text = read_file("/proc/sys/kernel/random/boot_id", 128);
    return text ? text->substr(0, text->find('\n')) : std::string();
  }();
  return kId;
}

std::optional<ProcessStat> stat_of(pid_t pid) { return pid > 0 ? read_stat(pid) : std::nullopt; }

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::error_code ec;
  for (std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", ec), end;
       !ec && threads != end; threads.increment(ec)) {
    std::ifstream file(threads->path() / "children");
    for (pid_t child = 0; file >> child;) children.push_back(child);
  }
  return children;
}

std::optional<ProcessIdentity> identify(pid_t pid) {
  const auto stat = stat_of(pid);
  if (!stat) return std::nullopt;
  return ProcessIdentity{pid, stat->start_ticks, boot_id()};
}

ProcessFate fate_of(const ProcessIdentity& process) {
  const auto stat = stat_of(process.pid);
  const bool other_boot = process.boot != boot_id();
  if (!stat) return ProcessFate::kGone;
  if (other_boot || stat->start_ticks != process.start_ticks) return ProcessFate::kReplaced;
  return stat->state == 'Z' || stat->state == 'X' ? ProcessFate::kGone : ProcessFate::kRuns;
}

bool signal_group(const ProcessIdentity& leader, int signal) {
  if (leader.pid <= 1 || leader.boot != boot_id() || fate_of(leader) == ProcessFate::kReplaced) return false;
  return ::kill(-leader.pid, signal) == 0;
}

}  // namespace rtrain::os
