#include "common/os/memory_group.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>

namespace memory_group_test {

using namespace rtrain;

namespace {

void put(const std::filesystem::path& file, const std::string& text) { std::ofstream(file) << text; }

}  // namespace

TEST_CASE("memory group: what v2 counts, of the group or the nearest one above it that counts", "[F29]") {
  const test::TempDir dir;
  const auto below = dir / "agent/tree/1.1.0";
  std::filesystem::create_directories(below);
  for (const auto& group : {dir / "agent", dir / "agent/tree", below}) put(group / "cgroup.procs", "");
  CHECK(os::memory_group_above(below.string()).empty());
  put(dir / "agent/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
  CHECK(os::memory_group_above(below.string()) == (dir / "agent").string());
  auto facts = os::memory_facts((dir / "agent").string());
  REQUIRE(facts.has_value());
  CHECK(facts->oom_kills == 1);
  CHECK_FALSE(facts->limit_bytes.has_value());
  CHECK_FALSE(facts->peak_bytes.has_value());
  put(dir / "agent/memory.max", "1073741824\n");
  put(dir / "agent/memory.peak", "1073741800\n");
  facts = os::memory_facts((dir / "agent").string());
  CHECK(facts->limit_bytes == 1073741824u);
  CHECK(facts->peak_bytes == 1073741800u);
  put(dir / "agent/memory.max", "max\n");
  CHECK_FALSE(os::memory_facts((dir / "agent").string())->limit_bytes.has_value());
  CHECK_FALSE(os::memory_facts(below.string()).has_value());
  CHECK_FALSE(os::memory_facts("").has_value());
}

TEST_CASE("memory group: what the memory hierarchy of v1 counts", "[F29]") {
  const test::TempDir dir;
  const auto group = dir / "memory/jobs";
  std::filesystem::create_directories(group);
  put(group / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  put(group / "memory.limit_in_bytes", "9223372036854771712\n");
  put(group / "memory.max_usage_in_bytes", "4096\n");
  const auto mounts =
      "35 31 0:32 / " + (dir / "memory").string() + " rw,relatime - cgroup cgroup rw,memory\n";
  CHECK(os::memory_group(mounts, "4:memory:/jobs\n0::/\n") == group.string());
  CHECK(os::memory_group(mounts, "4:memory:/elsewhere\n").empty());
  CHECK(os::memory_group("", "4:memory:/jobs\n").empty());
  const auto facts = os::memory_facts(group.string());
  REQUIRE(facts.has_value());
  CHECK(facts->oom_kills == 3);
  CHECK_FALSE(facts->limit_bytes.has_value());  // v1's word for none
  CHECK(facts->peak_bytes == 4096u);
}

TEST_CASE("memory group: the lowest limit on the way up counts") {
  const test::TempDir dir;
  const auto root = dir / "unified", own = root / "pod/container";
  std::filesystem::create_directories(own);
  for (const auto& group : {root, root / "pod", own}) put(group / "cgroup.procs", "");
  const auto mounts = "58 48 0:38 / " + root.string() + " rw - cgroup2 cgroup2 rw\n";
  const auto limit = [&] { return os::memory_limit(mounts, "0::/pod/container\n"); };
  CHECK_FALSE(limit());
  put(own / "memory.max", "max\n");
  CHECK_FALSE(limit());
  put(root / "pod/memory.max", "4294967296\n");
  CHECK(limit() == 4294967296u);
  put(own / "memory.max", "8589934592\n");
  CHECK(limit() == 4294967296u);
  put(own / "memory.max", "1048576\n");
  CHECK(limit() == 1048576u);
}

TEST_CASE("memory group: the limit of v1 is the hierarchy's") {
  const test::TempDir dir;
  const auto group = dir / "memory/jobs";
  std::filesystem::create_directories(group);
  const auto mounts =
      "35 31 0:32 / " + (dir / "memory").string() + " rw,relatime - cgroup cgroup rw,memory\n";
  const auto limit = [&] { return os::memory_limit(mounts, "4:memory:/jobs\n0::/\n"); };
  CHECK_FALSE(limit());
  put(group / "memory.stat", "cache 0\nhierarchical_memory_limit 9223372036854771712\n");
  CHECK_FALSE(limit());
  put(group / "memory.stat", "cache 0\nhierarchical_memory_limit 2147483648\n");
  CHECK(limit() == 2147483648u);
}

TEST_CASE("memory group: what may be used is at most what the machine has") {
  const auto memory = os::usable_memory();
  CHECK(memory.machine_bytes > 0);
  CHECK(memory.bytes() <= memory.machine_bytes);
}

}  // namespace memory_group_test
