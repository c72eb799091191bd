#include "worker/runtime/checkpoint_store.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>
#include <iterator>
#include <map>

using namespace rtrain;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

/// Relative path to content of everything below.
std::map<std::string, std::string> files(const fs::path& root) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    found[fs::relative(entry.path(), root).string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return found;
}

}  // namespace

TEST_CASE("checkpoint store: ranks' files are merged and appear at once", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(dir / "rank0/model.bin", "weights");
  write(dir / "rank0/meta/epoch", "3");
  write(dir / "rank1/rng-1.bin", "random");
  write(dir / "rank1/meta/epoch", "3");
  const runtime::CheckpointStore rank0(run, 2, 0), rank1(run, 2, 1);
  REQUIRE(rank1.stage((dir / "rank1").string(), 7).has_value());
  REQUIRE(rank0.stage((dir / "rank0").string(), 7).has_value());
  CHECK_FALSE(fs::exists(rank0.path(3)));
  REQUIRE(rank0.publish(7, 3).has_value());
  CHECK(rank0.path(3) == run + "/checkpoint_000003");
  CHECK(files(run) == std::map<std::string, std::string>{{"checkpoint_000003/model.bin", "weights"},
                                                         {"checkpoint_000003/meta/epoch", "3"},
                                                         {"checkpoint_000003/rng-1.bin", "random"}});
}

TEST_CASE("checkpoint store: what a dead attempt left is replaced and removed", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(run + "/checkpoint_000001/old.bin", "published, but the head never heard of it");
  write(run + "/.checkpoint_report_000002.tmp-1/half.bin", "ha");
  write(run + "/checkpoint_000000/kept.bin", "k");
  write(run + "/metrics.jsonl", "");
  write(dir / "new/model.bin", "new");
  const runtime::CheckpointStore store(run, 2, 0);
  REQUIRE(store.remove_leftovers().has_value());
  CHECK(files(run) == std::map<std::string, std::string>{{"checkpoint_000000/kept.bin", "k"},
                                                         {"checkpoint_000001/old.bin", "published, but the head never heard of it"},
                                                         {"metrics.jsonl", ""}});
  REQUIRE(store.stage((dir / "new").string(), 1).has_value());
  REQUIRE(store.publish(1, 1).has_value());
  CHECK(files(run + "/checkpoint_000001") == std::map<std::string, std::string>{{"model.bin", "new"}});
}

TEST_CASE("checkpoint store: removal tells what is gone", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(run + "/checkpoint_000000/a", "a");
  const runtime::CheckpointStore store(run, 1, 0);
  const std::vector<proto::CheckpointRecord> both{{store.path(0), 0, {}}, {store.path(1), 1, {}}};
  CHECK(store.remove(both) == std::vector<std::string>{store.path(0), store.path(1)});
  CHECK(files(run).empty());
}

TEST_CASE("checkpoint store: errors name the path and the cause", "[unit][runtime]") {
  const test::TempDir dir;
  const runtime::CheckpointStore store((dir / "run").string(), 1, 0);
  const auto missing = store.stage((dir / "nowhere").string(), 1);
  REQUIRE(missing.has_error());
  CHECK(missing.error().message().find((dir / "nowhere").string()) != std::string::npos);
  write(dir / "file", "x");
  const runtime::CheckpointStore blocked((dir / "file").string(), 1, 0);
  write(dir / "source/model.bin", "m");
  CHECK(blocked.stage((dir / "source").string(), 1).error().message().find((dir / "file").string()) != std::string::npos);
  store.discard(1);  // nothing there: nothing happens
  CHECK(store.remove_leftovers().has_value());
}
