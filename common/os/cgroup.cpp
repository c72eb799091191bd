#include "common/os/cgroup.h"

#include "common/os/file.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rtrain::os {
namespace {

namespace fs = std::filesystem;

/// @return 0 or an errno
int write_text(const char* path, std::string_view text) noexcept {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::write(fd, text.data(), text.size()) < 0 ? errno : 0;
  ::close(fd);
  return error;
}

std::vector<std::string> groups_below(const std::string& path) {
  std::vector<std::string> groups;
  std::error_code ec;
  for (fs::directory_iterator entries(path, ec), end; !ec && entries != end; entries.increment(ec)) {
    std::error_code gone;
    if (entries->is_directory(gone)) groups.push_back(entries->path());
  }
  return groups;
}

/// A process is moved into a group below `tree` and killed there.
Result<Done> try_out(const std::string& tree) {
  const std::string group = tree + "/probe";
  if (auto made = make_cgroup(group); !made) return made;
  const std::string procs = procs_of_cgroup(group), kill = group + "/cgroup.kill";
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return fail_errno("fork", errno);
  if (pid == 0) {
    // it must not hold a lock of ours when we are killed meanwhile, nor outlive us
    ::syscall(SYS_close_range, 3u, ~0u, 0u);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(ESRCH);
    const int error = join_cgroup(procs.c_str());
    if (error != 0) ::_exit(error);
    for (;;) ::pause();
  }
  int status = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  bool joined = false, ended = false;
  while (!(joined = !is_cgroup_empty(group)) && !(ended = ::waitpid(pid, &status, WNOHANG) == pid) &&
         std::chrono::steady_clock::now() < until)
    ::usleep(200);
  const int error = joined ? write_text(kill.c_str(), "1") : 0;
  if (!ended) {
    if (!joined || error != 0) ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
  }
  for (int tries = 0; !remove_cgroup(group) && tries < 1000; ++tries) ::usleep(200);
  if (ended) return fail_errno("move a process into " + group, WEXITSTATUS(status));
  if (!joined) return fail(Errc::kIo, group + ": a process that was moved in is not there");
  if (error != 0) return fail_errno("write " + kill, error);
  return ok();
}

}  // namespace

Result<std::string> own_cgroup(std::string_view mountinfo, std::string_view cgroup) {
  std::string own;
  std::istringstream memberships{std::string(cgroup)};
  for (std::string line; std::getline(memberships, line);)
    if (line.starts_with("0::")) own = line.substr(3);
  if (own.empty()) return fail(Errc::kNotFound, "this process is in no group of cgroups v2");
  std::istringstream mounts{std::string(mountinfo)};
  // proc(5): number, parent, device, root, mount point, options, ... - type, ...
  for (std::string line; std::getline(mounts, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos || !std::string_view(line).substr(dash + 3).starts_with("cgroup2 "))
      continue;
    std::istringstream fields(line);
    std::string skipped, root, point;
    fields >> skipped >> skipped >> skipped >> root >> point;
    if (root == "/") root.clear();
    if (own != root && !own.starts_with(root + "/")) continue;  // a part of the hierarchy that we are not in
    const auto below = own.substr(root.size());
    return below == "/" ? point : point + below;
  }
  return fail(Errc::kNotFound, "no cgroups v2 are mounted here");
}

Result<std::string> make_cgroup_tree(const std::string& name) {
  const auto mounts = read_file("/proc/self/mountinfo"), groups = read_file("/proc/self/cgroup");
  if (!mounts) return mounts.error();
  if (!groups) return groups.error();
  const auto own = own_cgroup(*mounts, *groups);
  if (!own) return own.error();
  const auto tree = *own + "/" + name;
  if (auto made = make_cgroup(tree); !made) return made.error();
  if (auto works = try_out(tree); !works) {
    remove_cgroup(tree);
    return works.error();
  }
  return tree;
}

Result<std::string> try_cgroup_tree(const std::string& name) {
  auto tree = make_cgroup_tree(name);
  if (!tree) return tree;
  remove_cgroup(*tree);
  return fs::path(*tree).parent_path().string();
}

Result<Done> make_cgroup(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("make group " + path, errno);
  return ok();
}

std::string procs_of_cgroup(const std::string& path) { return path + "/cgroup.procs"; }

int join_cgroup(const char* procs_path) noexcept { return write_text(procs_path, "0"); }

bool kill_cgroup(const std::string& path) { return write_text((path + "/cgroup.kill").c_str(), "1") == 0; }

bool is_cgroup_empty(const std::string& path) {
  std::ifstream events(path + "/cgroup.events");
  for (std::string key, value; events >> key >> value;)
    if (key == "populated") return value == "0";
  return true;
}

std::vector<pid_t> cgroup_processes(const std::string& path) {
  std::vector<pid_t> pids;
  std::ifstream file(procs_of_cgroup(path));
  for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
  for (const auto& below : groups_below(path))
    for (const pid_t pid : cgroup_processes(below)) pids.push_back(pid);
  return pids;
}

bool remove_cgroup(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
  for (const auto& below : groups_below(path)) remove_cgroup(below);
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT;
}

}  // namespace rtrain::os
