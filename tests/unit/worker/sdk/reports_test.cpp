// report() with its options, in a job of this process.
#include <rtrain/context.h>
#include <rtrain/result.h>
#include <rtrain/torch_trainer.h>

#include "tests/support/catch.h"
#include "tests/support/checksums.h"
#include "tests/support/temp_dir.h"

#include <cmath>
#include <fstream>
#include <future>

namespace sdk_reports_test {

using namespace rtrain;
namespace fs = std::filesystem;

namespace {

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

Checkpoint with_file(const std::string& text) {
  auto checkpoint = Checkpoint::temporary();
  put(checkpoint.path() / "weights", text);
  return checkpoint;
}

TrainingResult run_here(const test::TempDir& dir, const TrainFunction& train, CheckpointConfig keep = {}) {
  RunConfig run{.name = "here", .storage_path = (dir / "results").string()};
  run.checkpoint_config = std::move(keep);
  auto result = TorchTrainer(train, {.num_workers = 0}, run).fit();
  INFO((result.error ? result.error->message : ""));
  REQUIRE_FALSE(result.error.has_value());
  return result;
}

const auto kNone = nlohmann::json::object();
constexpr auto kAsync = CheckpointUploadMode::kAsync;
constexpr auto kNoUpload = CheckpointUploadMode::kNoUpload;

}  // namespace

TEST_CASE("reports: asynchronous ones return before they are stored, and are stored in order",
          "[unit][sdk][reports]") {
  const test::TempDir dir;
  const auto result = run_here(dir, [&](const Config&) {
    std::promise<void> go_on;
    auto gate = go_on.get_future().share();
    const auto slow = [gate](const Checkpoint& local, const std::string&) {
      gate.wait();
      const auto to = get_context().get_trial_dir() / "slow";
      local.to_directory(to);
      return Checkpoint(to);
    };
    report({{"n", 1}}, with_file("one"), {.checkpoint_upload_mode = kAsync, .checkpoint_upload_fn = slow});
    report({{"n", 2}});  // behind it
    CHECK_FALSE(get_checkpoint().has_value());
    CHECK(get_all_reported_checkpoints(CheckpointConsistencyMode::kCommitted, 0.001).empty());
    go_on.set_value();
    const auto all = get_all_reported_checkpoints();
    REQUIRE(all.size() == 1);
    CHECK(all[0].metrics == nlohmann::json{{"n", 1}});
    CHECK(all[0].status == ReportedCheckpointStatus::kCommitted);
    CHECK(all[0].checkpoint.path().filename() == "slow");
    report({{"n", 3}}, with_file("three"), {.checkpoint_upload_mode = kAsync});
    report({{"n", 4}}, with_file("four"));  // waits for it
    CHECK(get_all_reported_checkpoints().size() == 3);
    report({{"n", 5}}, with_file("five"), {.checkpoint_upload_mode = kAsync});
  });  // the end waits
  CHECK(result.best_checkpoints.size() == 4);
  CHECK(result.metrics == nlohmann::json{{"n", 5}});
  CHECK(test::text_of(result.checkpoint->path() / "weights") == "five");
  std::vector<int> order;
  for (const auto& row : result.metrics_dataframe()) order.push_back(row.at("metrics").at("n").get<int>());
  CHECK(order == std::vector<int>{1, 2, 3, 4, 5});
  const auto again = TrainingResult::from_path(result.path);
  CHECK(again.best_checkpoints.size() == 4);
}

TEST_CASE("reports: the local folder goes after an asynchronous upload, and stays after another",
          "[unit][sdk][reports]") {
  const test::TempDir dir;
  (void)run_here(dir, [&](const Config&) {
    for (const auto* name : {"a", "b", "c", "d"}) put(dir / name / "weights", name);
    report(kNone, Checkpoint(dir / "a"), {.checkpoint_upload_mode = kAsync});
    report(kNone, Checkpoint(dir / "b"));
    report(kNone, Checkpoint(dir / "c"),
           {.checkpoint_upload_mode = kAsync, .delete_local_checkpoint_after_upload = false});
    report(kNone, Checkpoint(dir / "d"), {.delete_local_checkpoint_after_upload = true});
    CHECK(get_all_reported_checkpoints().size() == 4);
    for (const auto& reported : get_all_reported_checkpoints())
      CHECK(test::is_whole(reported.checkpoint.path()));
  });
  CHECK_FALSE(fs::exists(dir / "a"));
  CHECK(fs::exists(dir / "b"));
  CHECK(fs::exists(dir / "c"));
  CHECK_FALSE(fs::exists(dir / "d"));
}

TEST_CASE("reports: a name of one's own, once", "[unit][sdk][reports]") {
  const test::TempDir dir;
  const auto result =
      run_here(dir,
               [&](const Config&) {
                 report({{"n", 1}}, with_file("one"), {.checkpoint_dir_name = "epoch-1"});
                 CHECK(get_checkpoint()->path() == get_context().get_trial_dir() / "epoch-1");
                 CHECK_THROWS_WITH(report(kNone, with_file("two"), {.checkpoint_dir_name = "epoch-1"}),
                                   Catch::Contains("epoch-1 exists"));
                 for (const auto* name : {"a/b", ".hidden", "checkpoint_000007"})
                   CHECK_THROWS_AS(report(kNone, with_file("x"), {.checkpoint_dir_name = name}),
                                   std::invalid_argument);
                 report({{"n", 2}}, with_file("two"), {.checkpoint_dir_name = "epoch-2"});
                 report({{"n", 3}}, with_file("three"));
               },
               {.num_to_keep = 2});
  CHECK_FALSE(fs::exists(result.path / "epoch-1"));
  CHECK(test::text_of(result.path / "epoch-2/weights") == "two");
  CHECK(test::text_of(result.path / "checkpoint_000002/weights") == "three");
}

TEST_CASE("reports: what is in storage already is recorded by its path", "[unit][sdk][reports]") {
  const test::TempDir dir;
  const auto result = run_here(
      dir,
      [&](const Config&) {
        put(dir / "elsewhere/weights", "one");
        const auto inside = get_context().get_trial_dir() / "mine/c";
        put(inside / "weights", "two");
        report({{"n", 1}}, Checkpoint(dir / "elsewhere"), {.checkpoint_upload_mode = kNoUpload});
        CHECK(get_checkpoint()->path() == dir / "elsewhere");
        report({{"n", 2}}, Checkpoint(inside), {.checkpoint_upload_mode = kNoUpload});
        CHECK_THROWS_WITH(
            report(kNone, Checkpoint(inside),
                   {.checkpoint_upload_mode = kNoUpload, .delete_local_checkpoint_after_upload = true}),
            Catch::Contains("would delete"));
        report({{"n", 3}}, with_file("three"));
      },
      {.num_to_keep = 1});
  CHECK(fs::exists(dir / "elsewhere/weights"));  // not the run's
  CHECK_FALSE(fs::exists(result.path / "mine/c"));
  REQUIRE(result.best_checkpoints.size() == 1);
  CHECK(test::text_of(result.best_checkpoints[0].first.path() / "weights") == "three");
}

TEST_CASE("reports: an upload that fails is told by the next report, and ends the run at the latest",
          "[unit][sdk][reports]") {
  const test::TempDir dir;
  const auto broken = [](const Checkpoint&, const std::string&) -> Checkpoint {
    throw std::runtime_error("the bucket is gone");
  };
  const ReportOptions options{.checkpoint_upload_mode = kAsync, .checkpoint_upload_fn = broken};
  (void)run_here(dir, [&](const Config&) {
    report({{"n", 1}}, with_file("one"), options);
    CHECK_THROWS_WITH(wait_for_uploads(), Catch::Contains("the bucket is gone"));
    wait_for_uploads();
    report({{"n", 2}}, with_file("two"));
    CHECK(get_all_reported_checkpoints().size() == 1);
  });
  const auto failed = TorchTrainer([&](const Config&) { report({{"n", 1}}, with_file("one"), options); },
                                   {.num_workers = 0}, {.name = "b", .storage_path = (dir / "r").string()})
                          .fit();
  REQUIRE(failed.error.has_value());
  CHECK(failed.error->message.find("the bucket is gone") != std::string::npos);
}

TEST_CASE("reports: on_report hears of each, with its checkpoint", "[unit][sdk][reports]") {
  const test::TempDir dir;
  std::vector<ReportedRow> rows;
  const auto result =
      TorchTrainer(
          [](const Config&) {
            report({{"loss", 2}});
            report({{"loss", std::nan("")}}, with_file("x"), {.checkpoint_upload_mode = kAsync});
          },
          {.num_workers = 0}, {.name = "heard", .storage_path = (dir / "r").string()})
          .on_report([&](const ReportedRow& row) { rows.push_back(row); })
          .fit();
  REQUIRE_FALSE(result.error.has_value());
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].report == 1);
  CHECK(rows[0].metrics == nlohmann::json{{"loss", 2}});
  CHECK_FALSE(rows[0].checkpoint.has_value());
  CHECK(std::isnan(rows[1].metrics.at("loss").get<double>()));
  CHECK(rows[1].checkpoint->path() == result.path / "checkpoint_000000");
}

TEST_CASE("checkpoint: metadata is kept beside the files and does not count as damage",
          "[unit][sdk][reports]") {
  const test::TempDir dir;
  const auto result = run_here(dir, [&](const Config&) {
    const auto checkpoint = with_file("x");
    CHECK(checkpoint.get_metadata() == nlohmann::json::object());
    checkpoint.set_metadata({{"epoch", 3}});
    CHECK_THROWS_AS(checkpoint.set_metadata({1, 2}), std::invalid_argument);
    report(kNone, checkpoint);
  });
  const auto& stored = *result.checkpoint;
  stored.update_metadata({{"note", "best"}});
  CHECK(stored.get_metadata() == nlohmann::json{{"epoch", 3}, {"note", "best"}});
  CHECK(test::is_whole(stored.path()));
  put(stored.path() / ".metadata.json", "[1]");
  CHECK_THROWS_WITH(stored.get_metadata(), Catch::Contains("expected a JSON object"));
}

TEST_CASE("reports: outside a job there are none, and nobody preempts", "[unit][sdk][reports]") {
  CHECK(get_all_reported_checkpoints().empty());
  CHECK_FALSE(get_preemption_info().has_value());
  CHECK_THROWS_AS(get_all_reported_checkpoints(CheckpointConsistencyMode::kCommitted, -1),
                  std::invalid_argument);
  wait_for_uploads();
}

TEST_CASE("reports: what cannot be validated is refused", "[unit][sdk][reports]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(report({{"n", 1}}, std::nullopt, {.validation = true}),
                    Contains("validation needs a checkpoint"));
  const auto checkpoint = with_file("x");
  report({{"n", 1}}, checkpoint, {.validation = true});  // outside a job there is nobody to ask
  CHECK_THROWS_WITH(report({{"n", 1}}, checkpoint,
                           {.validation = ValidationTaskConfig{.fn_kwargs = nlohmann::json::array()}}),
                    Contains("fn_kwargs must be an object, found array"));
  CHECK_THROWS_WITH(report({{"n", 1}}, checkpoint, {.validation = ValidationTaskConfig{.timeout_s = 0.0}}),
                    Contains("timeout_s is 0.0"));
  CHECK_THROWS_WITH(
      report({{"n", 1}}, checkpoint,
             {.validation = ValidationTaskConfig{.fn_kwargs = {{"big", std::string(100'000, 'x')}}}}),
      Contains("fn_kwargs has 100010 bytes"));
  const test::TempDir dir;
  (void)run_here(dir, [&](const Config&) {
    CHECK_THROWS_WITH(report({{"n", 1}}, with_file("x"), {.validation = true}),
                      Contains("num_workers 0 has none"));
  });
}

}  // namespace sdk_reports_test
