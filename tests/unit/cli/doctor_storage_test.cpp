#include "cli/doctor_storage.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>
#include <vector>

#include <unistd.h>

namespace doctor_storage_test {

using namespace rtrain;
using namespace rtrain::cli;
using proto::Health;

TEST_CASE("doctor storage: a folder that is not there yet says so") {
  const auto check = judge_storage({"/results", "", "", false, 100.0 * (1 << 30), 1, 500});
  CHECK(check.health == Health::kOk);
  CHECK(check.detail == "/results: not there yet, a job makes it; 100 GiB free, fsync 1 ms, writes 500 MB/s");
}

TEST_CASE("doctor storage: fast and slow disks have plain numbers") {
  CHECK(judge_storage({"/r", "", "", true, 1e12, 0.0823, 1261.4})
            .detail.ends_with("fsync 0.082 ms, writes 1261 MB/s"));
  CHECK(judge_storage({"/r", "", "", true, 1e12, 812.4, 0.41})
            .detail.ends_with("fsync 812 ms, writes 0.41 MB/s"));
}

TEST_CASE("doctor storage: what was found reads back as it was written") {
  const StorageFacts facts{"/results", "/results: Permission denied", "another disk", false, 5e9, 1.5, 210};
  const auto back = read_storage_line(storage_line(facts));
  REQUIRE(back);
  CHECK(storage_line(*back) == storage_line(facts));
  for (const char* line : {"", "{}", "[]", R"({"path":3})"}) CHECK_FALSE(read_storage_line(line));
}

TEST_CASE("doctor storage: each step that could hang is told before it, with its place") {
  const test::TempDir dir;
  const auto folder = (dir / "results").string();
  std::vector<std::string> steps;
  const auto facts = look_at_storage(folder, [&](const std::string& step) { steps.push_back(step); });
  CHECK(facts.problem.empty());
  CHECK_FALSE(facts.is_there);
  CHECK(facts.write_mb_s > 0);
  const auto above = std::filesystem::path(folder).parent_path().string();
  CHECK(steps == std::vector<std::string>{"a look at " + folder, "a look at " + above,
                                          "the free space of " + above, "a new file in " + above,
                                          "a write and an fsync in " + above});
  CHECK(std::filesystem::is_empty(above));  // nothing is left behind
}

TEST_CASE("doctor storage: what stands in the place of a folder is named") {
  const test::TempDir dir;
  std::ofstream(dir / "file") << "x";
  const auto facts = look_at_storage((dir / "file/results").string(), [](const std::string&) {});
  CHECK(facts.problem.find((dir / "file").string()) != std::string::npos);
  CHECK(why_not_writable(dir.path().string()).empty());
  CHECK(why_not_writable("/nowhere") == "No such file or directory");
}

}  // namespace doctor_storage_test
