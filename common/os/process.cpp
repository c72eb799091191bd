#include "common/os/process.h"

#include "common/os/file.h"

#include <csignal>
#include <sstream>

namespace rtrain::os {
namespace {

struct Stat { char state = 0; std::uint64_t start_ticks = 0; };

std::optional<Stat> read_stat(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!text) return std::nullopt;
  const auto name_end = text->rfind(')');  // the name may hold anything, also blanks and brackets
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text->substr(name_end + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
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

std::optional<ProcessIdentity> identify(pid_t pid) {
  const auto stat = pid > 0 ? read_stat(pid) : std::nullopt;
  if (!stat) return std::nullopt;
  return ProcessIdentity{pid, stat->start_ticks, boot_id()};
}

ProcessFate fate_of(const ProcessIdentity& process) {
  const auto stat = process.pid > 0 ? read_stat(process.pid) : std::nullopt;
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
