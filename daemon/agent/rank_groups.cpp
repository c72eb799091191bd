#include "daemon/agent/rank_groups.h"

#include "common/log/log.h"
#include "common/os/cgroup.h"

#include <filesystem>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::agent {
namespace {

constexpr int kTries = 500;  // of 1 ms

/// One name a state_dir, the same for each of its agents: leftovers are found also when nothing was written
/// down.
std::string tree_name(const std::string& state_dir) {
  struct stat info {};
  ::stat(state_dir.c_str(), &info);
  std::ostringstream name;
  name << "rtrain-" << std::hex << info.st_dev << "-" << info.st_ino;
  return name.str();
}

}  // namespace

std::string open_rank_groups(const std::string& mode, const std::string& state_dir) {
  constexpr auto kWithout =
      "ranks run without control groups: what they fork is found by process group, session, environment and "
      "descent";
  if (mode == "off") {
    log::info(kWithout, {{"cause", "cgroup is off"}});
    return {};
  }
  auto tree = os::make_cgroup_tree(tree_name(state_dir));
  if (!tree) {
    log::info(kWithout, {{"cause", tree.error().message()}});
    return {};
  }
  log::info("each rank runs in a control group of its own", {{"tree", *tree}});
  return *tree;
}

std::string rank_group(const std::string& tree, const proto::RankKey& key) {
  return tree.empty() ? tree : tree + "/" + to_string(key);
}

void clean_rank_groups(const std::string& tree, const std::set<proto::RankKey>& keep) {
  if (tree.empty()) return;
  std::set<std::string> kept;
  for (const auto& key : keep) kept.insert(to_string(key));
  std::vector<std::string> left;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(tree, ec))
    if (entry.is_directory() && !kept.contains(entry.path().filename())) left.push_back(entry.path());
  for (const auto& group : left) {
    if (!os::is_cgroup_empty(group))
      log::warn("processes of an attempt that is over are ended", {{"group", group}});
    os::kill_cgroup(group);
  }
  for (const auto& group : left) {
    int tries = 0;
    while (!os::remove_cgroup(group) && ++tries < kTries) ::usleep(1000);
    if (tries == kTries) log::error("a process of an attempt that is over does not end", {{"group", group}});
  }
}

}  // namespace rtrain::agent
