#include "worker/runtime/checkpoint_store.h"

#include "proto/tensors/checksums.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>
#include <iterator>
#include <map>

namespace checkpoint_store_test {

using namespace rtrain;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

/// Relative path to content of everything below but checksums.json.
std::map<std::string, std::string> files(const fs::path& root) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.path().filename() == "checksums.json") continue;
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
  const runtime::CheckpointStore rank0(run, 2, 0, 2), rank1(run, 2, 1, 2);
  REQUIRE(rank1.stage((dir / "rank1").string(), 7).has_value());
  REQUIRE(rank0.stage((dir / "rank0").string(), 7).has_value());
  CHECK_FALSE(fs::exists(rank0.path(3)));
  REQUIRE(rank0.publish(7, 3).has_value());
  CHECK(rank0.path(3) == run + "/checkpoint_000003");
  CHECK(files(run) == std::map<std::string, std::string>{{"checkpoint_000003/model.bin", "weights"},
                                                         {"checkpoint_000003/meta/epoch", "3"},
                                                         {"checkpoint_000003/rng-1.bin", "random"}});
}

TEST_CASE("checkpoint store: a published checkpoint has the checksums of all ranks' files",
          "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(dir / "rank0/model.bin", "weights");
  write(dir / "rank0/both", "of rank 0");
  write(dir / "rank2/sub/rng.bin", "random");
  write(dir / "rank2/both", "of rank 2");
  const runtime::CheckpointStore rank0(run, 1, 0, 3), rank2(run, 1, 2, 3);  // rank 1 brings nothing
  REQUIRE(rank0.stage((dir / "rank0").string(), 5).has_value());
  REQUIRE(rank2.stage((dir / "rank2").string(), 5).has_value());
  REQUIRE(rank0.publish(5, 0).has_value());
  const auto sums = tensors::read_checksums(rank0.path(0));
  REQUIRE(sums.has_value());
  CHECK(sums->files ==
        std::map<std::string, tensors::Checksum>{{"model.bin", tensors::checksum_of_text("weights")},
                                                 {"sub/rng.bin", tensors::checksum_of_text("random")},
                                                 {"both", tensors::checksum_of_text("of rank 2")}});
  CHECK(tensors::check_folder(rank0.path(0)).has_value());
  CHECK(std::distance(fs::directory_iterator(run), fs::directory_iterator()) == 1);  // nothing beside it

  REQUIRE(rank2.stage((dir / "rank2").string(), 6).has_value());
  rank2.discard(6);
  CHECK(std::distance(fs::directory_iterator(run), fs::directory_iterator()) == 1);
}

TEST_CASE("checkpoint store: checksums that a folder has already are taken from there", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(dir / "made/checkpoint.ckpt/model.bin", "weights");
  write(dir / "made/checkpoint.ckpt/grown.bin", "longer than it was");
  write(dir / "made/notes", "mine");
  const auto ckpt = (dir / "made/checkpoint.ckpt").string();
  // A mark that shows where the number is from.
  REQUIRE(
      tensors::write_checksums(ckpt, {{{"model.bin", {7, 0x12345678}}, {"grown.bin", {1, 1}}}}).has_value());
  const runtime::CheckpointStore store(run, 1, 0);
  REQUIRE(store.stage((dir / "made").string(), 1).has_value());
  REQUIRE(store.publish(1, 0).has_value());
  const auto sums = tensors::read_checksums(store.path(0));
  REQUIRE(sums.has_value());
  CHECK(sums->files.at("checkpoint.ckpt/model.bin").crc32c == 0x12345678);
  CHECK(sums->files.at("checkpoint.ckpt/grown.bin") == tensors::checksum_of_text("longer than it was"));
  CHECK(sums->files.at("notes") == tensors::checksum_of_text("mine"));
  CHECK(sums->files.contains("checkpoint.ckpt/checksums.json"));
  CHECK(sums->files.size() == 4);
}

TEST_CASE("checkpoint store: what a dead attempt left is replaced and removed", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(run + "/checkpoint_000001/old.bin", "published, but the head never heard of it");
  write(run + "/.checkpoint_report_000002.tmp-1/half.bin", "ha");
  write(run + "/.checkpoint_report_000002.tmp-1.sums-3", "{}");
  write(run + "/checkpoint_000000/kept.bin", "k");
  write(run + "/metrics.jsonl", "");
  write(dir / "new/model.bin", "new");
  const runtime::CheckpointStore store(run, 2, 0);
  REQUIRE(store.remove_leftovers().has_value());
  CHECK(files(run) == std::map<std::string, std::string>{
                          {"checkpoint_000000/kept.bin", "k"},
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
  CHECK(blocked.stage((dir / "source").string(), 1).error().message().find((dir / "file").string()) !=
        std::string::npos);
  std::filesystem::create_symlink("gone", dir / "source/link");
  const auto dangling = store.stage((dir / "source").string(), 1);
  REQUIRE(dangling.has_error());
  CHECK(dangling.error().message().find((dir / "source/link").string() +
                                        " is a link to gone, which cannot be read: No such file") !=
        std::string::npos);
  store.discard(1);  // nothing there: nothing happens
  CHECK(store.remove_leftovers().has_value());
}

TEST_CASE("checkpoint store: the run's own folder, what holds it, and what it has stored is no checkpoint",
          "[unit][runtime][F26]") {
  const test::TempDir dir;
  const auto run = (dir / "runs/one").string();
  write(run + "/checkpoint_000003/sub/a", "a");
  write(run + "/mine/a", "a");
  write(dir / "runs/one-more/a", "a");
  const runtime::CheckpointStore store(run, 1, 0);
  struct Row {
    std::string source, words;
  };
  fs::create_directory_symlink(run, dir / "link");
  for (const auto& row : std::vector<Row>{{run, "is the run's own folder"},
                                          {run + "/", "is the run's own folder"},
                                          {run + "/mine/..", "is the run's own folder"},
                                          {(dir / "link").string(), "is the run's own folder"},
                                          {(dir / "runs").string(), "holds the run's folder"},
                                          {"/", "holds the run's folder"},
                                          {run + "/checkpoint_000003", "is already stored by the run"},
                                          {run + "/checkpoint_000003/sub", "is already stored by the run"}}) {
    INFO(row.source);
    const auto accepted = store.accepts(row.source);
    REQUIRE(accepted.has_error());
    CHECK(accepted.error().code() == Errc::kInvalidArgument);
    CHECK(accepted.error().message().find(row.words) != std::string::npos);
  }
  write(run + "/checkpoint_mine/a", "a");
  for (const auto& source : {run + "/mine", run + "/checkpoint_mine", (dir / "runs/one-more").string(),
                             store.make_scratch().value()}) {
    INFO(source);
    CHECK(store.accepts(source).has_value());
  }
}

TEST_CASE(
    "checkpoint store: one that is being made is below the run's folder, and goes with the other leftovers",
    "[unit][runtime][F27]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  const runtime::CheckpointStore first(run, 1, 1), second(run, 2, 1);
  write(first.make_scratch().value() + "/half.bin", "ha");
  CHECK(files(run).size() == 1);
  REQUIRE(second.remove_leftovers().has_value());
  CHECK(files(run).empty());
  const auto scratch = second.make_scratch().value();
  write(scratch + "/model.bin", "weights");
  write(scratch + "/sub/rng.bin", "random");
  fs::create_symlink(dir / "shared.bin", scratch + "/link.bin");
  CHECK(second.stage(scratch, 1).error().message().find("link.bin is a link to ") != std::string::npos);
  write(dir / "shared.bin", "shared");
  REQUIRE(second.stage(scratch, 1).has_value());
  REQUIRE(second.publish(1, 0).has_value());
  CHECK(files(run + "/checkpoint_000000") == std::map<std::string, std::string>{{"model.bin", "weights"},
                                                                                {"sub/rng.bin", "random"},
                                                                                {"link.bin", "shared"}});
  CHECK(fs::exists(dir / "shared.bin"));
  write(scratch + "/old.bin", "old");
  CHECK(second.make_scratch().value() == scratch);  // empty again
  CHECK(fs::is_empty(scratch));
}

TEST_CASE("checkpoint store: a name of one's own is not taken twice, but what a killed attempt left is",
          "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  write(dir / "source/model", "one");
  const runtime::CheckpointStore store(run, 1, 0);
  REQUIRE(store.stage((dir / "source").string(), 1).has_value());
  REQUIRE(store.publish(1, 0, "best").has_value());
  CHECK(files(run) == std::map<std::string, std::string>{{"best/model", "one"}});
  write(dir / "source/model", "two");
  REQUIRE(store.stage((dir / "source").string(), 2).has_value());
  CHECK(store.publish(2, 1, "best").error().code() == Errc::kInvalidArgument);

  const runtime::CheckpointStore retry(run, 2, 0);
  REQUIRE(retry.remove_leftovers().has_value());
  REQUIRE(retry.stage((dir / "source").string(), 1).has_value());
  const std::vector<proto::CheckpointRecord> kept{{run + "/best", 0, {}}};
  CHECK(retry.publish(1, 1, "best", kept).error().code() == Errc::kInvalidArgument);  // it is the job's
  REQUIRE(retry.publish(1, 1, "best").has_value());                                   // nobody was told of it
  CHECK(files(run) == std::map<std::string, std::string>{{"best/model", "two"}});
  write(dir / "run/notes/thesis.txt", "x");
  CHECK_FALSE(retry.publish(1, 2, "notes").has_value());
}

TEST_CASE("checkpoint store: files of the run's own disk move, and what is not the run's stays",
          "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  const runtime::CheckpointStore store(run, 1, 0);
  write(dir / "run/local/model", "one");
  write(dir / "far/model", "two");
  REQUIRE(store.stage(run + "/local", 1, true).has_value());
  CHECK_FALSE(fs::exists(dir / "run/local/model"));
  REQUIRE(store.publish(1, 0).has_value());
  REQUIRE(store.stage((dir / "far").string(), 2, true).has_value());
  CHECK(fs::exists(dir / "far/model"));
  store.discard(2);
  CHECK(store.owns(store.path(0)));
  CHECK_FALSE(store.owns((dir / "far").string()));
  CHECK_FALSE(store.owns(run));
  CHECK(store.remove({{(dir / "far").string(), 3, {}}, {store.path(0), 0, {}}}).size() == 2);
  CHECK(fs::exists(dir / "far/model"));
  CHECK_FALSE(fs::exists(store.path(0)));
}

}  // namespace checkpoint_store_test
