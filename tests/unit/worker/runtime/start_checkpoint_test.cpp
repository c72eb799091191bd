#include "worker/runtime/start_checkpoint.h"

#include "proto/tensors/checksums.h"
#include "tests/support/catch.h"
#include "tests/support/memory_store.h"
#include "tests/support/temp_dir.h"

#include <fstream>

namespace start_checkpoint_test {

using namespace rtrain;
using namespace rtrain::runtime;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

class Run {
 public:
  const test::TempDir dir;
  std::vector<proto::CheckpointRecord> kept;
  std::vector<std::string> told;

  std::string path(int index) const { return (dir / ("checkpoint_" + std::to_string(index))).string(); }
  void add(int index, bool with_sums = true) {
    fs::create_directories(path(index) + "/sub");
    write(index, "weights");
    if (with_sums)
      REQUIRE(
          tensors::write_checksums(path(index), tensors::make_checksums(path(index)).value()).has_value());
    kept.push_back({path(index), index, {}});
  }
  void write(int index, const std::string& text) const { std::ofstream(path(index) + "/sub/model") << text; }
  StartCheckpoint newest(const std::string& fallback = "") {
    told.clear();
    return newest_whole(kept, fallback, [this](const std::string& line) { told.push_back(line); });
  }
};

using Store = rtrain::test::MemoryStore;

}  // namespace

TEST_CASE("start checkpoint: the newest whole one, and why not a newer one", "[unit][runtime]") {
  Run run;
  CHECK(run.newest().value() == std::nullopt);
  CHECK(run.newest("/given").value() == "/given");
  for (int index = 0; index < 4; ++index) run.add(index);
  CHECK(run.newest().value() == run.path(3));
  CHECK(run.told.empty());

  run.write(3, "weighty");
  CHECK(run.newest().value() == run.path(2));
  REQUIRE(run.told.size() == 1);
  CHECK_THAT(run.told[0], Contains(run.path(3) + " is damaged: sub/model was changed: CRC-32C ") &&
                              Contains("; going on from " + run.path(2)));

  fs::remove(run.path(2) + "/sub/model");
  std::ofstream(run.path(1) + "/checksums.json") << "{";
  CHECK(run.newest().value() == run.path(0));
  REQUIRE(run.told.size() == 3);
  CHECK_THAT(run.told[1], Contains("sub/model: no such file"));
  CHECK_THAT(run.told[2], Contains("checksums.json"));
  CHECK(newest_there(run.kept, "") == run.path(3));

  run.write(0, "w");
  CHECK(run.newest("/given").value() == "/given");
  CHECK(run.told.size() == 4);
  const auto none = run.newest();
  REQUIRE(none.has_error());
  CHECK_THAT(none.error().message(), Contains(run.path(3)) && Contains("so are the 3 before it"));
  CHECK(run.told.empty());
}

TEST_CASE("start checkpoint: one without checksums is taken, one that is gone is passed over",
          "[unit][runtime]") {
  Run run;
  run.add(0);
  run.add(1, false);
  run.add(2);
  fs::remove_all(run.path(2));
  CHECK(run.newest().value() == run.path(1));
  CHECK(run.told.empty());
  CHECK(newest_there(run.kept, "") == run.path(1));
  CHECK(newest_there({}, "") == std::nullopt);
  CHECK(newest_there({}, "/given") == "/given");
}

TEST_CASE("start checkpoint: the other ranks hear what rank 0 chose", "[unit][runtime]") {
  Store store;
  int looks = 0;
  const auto twice = [&] { return ++looks < 3; };
  const auto late = await_start(store, twice);
  REQUIRE(late.has_error());
  CHECK(late.error().code() == Errc::kTimeout);
  announce_start(store, std::optional<std::string>("/run/checkpoint_000001"));
  CHECK(await_start(store, twice).value() == "/run/checkpoint_000001");
  announce_start(store, std::optional<std::string>());
  CHECK(await_start(store, twice).value() == std::nullopt);
  announce_start(store, fail(Errc::kIo, "all damaged", "a way out"));
  const auto damaged = await_start(store, twice);
  REQUIRE(damaged.has_error());
  CHECK(damaged.error().message() == "all damaged (a way out)");
}

}  // namespace start_checkpoint_test
