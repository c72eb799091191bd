#include "common/os/cgroup.h"

#include "tests/support/catch.h"

#include <cerrno>

namespace cgroup_test {

using namespace rtrain;

namespace {

const std::string kRoot = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string kHybrid =
    "25 23 0:22 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "31 23 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

}  // namespace

TEST_CASE("cgroup: the folder of this process's own group") {
  struct Row {
    std::string mounts, groups, folder;
  };
  const std::vector<Row> rows{
      {kRoot, "0::/\n", "/sys/fs/cgroup"},
      {kRoot, "0::/system.slice/rtrain.service\n", "/sys/fs/cgroup/system.slice/rtrain.service"},
      {kHybrid, "8:pids:/user\n0::/user.slice\n", "/sys/fs/cgroup/unified/user.slice"},
      // A container that sees a part of its host's hierarchy.
      {"29 23 0:26 /docker/1a2b /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/1a2b\n",
       "/sys/fs/cgroup"},
      {"29 23 0:26 /docker/1a2b /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/1a2b/rank\n",
       "/sys/fs/cgroup/rank"},
  };
  for (const auto& row : rows) {
    INFO(row.mounts << row.groups);
    const auto found = os::own_cgroup(row.mounts, row.groups);
    REQUIRE(found.has_value());
    CHECK(*found == row.folder);
  }
}

TEST_CASE("cgroup: machines without one") {
  const std::vector<std::pair<std::string, std::string>> rows{
      {kRoot, "8:pids:/user\n"},                                                    // v1 only
      {"25 23 0:22 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", "0::/\n"},  // not mounted
      // another's part
      {"29 23 0:26 /docker/1a2b /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/1a2bc\n"},
      {"", ""},
  };
  for (const auto& [mounts, groups] : rows) {
    INFO(mounts << groups);
    const auto found = os::own_cgroup(mounts, groups);
    REQUIRE_FALSE(found.has_value());
    CHECK(found.error().code() == Errc::kNotFound);
  }
}

TEST_CASE("cgroup: a group that does not exist is empty, and nothing to kill") {
  CHECK(os::is_cgroup_empty("/nowhere/group"));
  CHECK(os::cgroup_processes("/nowhere/group").empty());
  CHECK_FALSE(os::kill_cgroup("/nowhere/group"));
  CHECK(os::remove_cgroup("/nowhere/group"));
  CHECK(os::join_cgroup("/nowhere/group/cgroup.procs") == ENOENT);
}

}  // namespace cgroup_test
