#include <rtrain/context.h>
#include <rtrain/progress.h>
#include <rtrain/torch_trainer.h>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <cmath>
#include <fstream>

namespace context_test {

using namespace rtrain;

TEST_CASE("context: outside a job a process is rank 0 of 1", "[unit][sdk]") {
  const auto& context = get_context();
  CHECK(std::tuple(context.get_world_rank(), context.get_world_size(), context.get_local_rank(),
                   context.get_local_world_size(), context.get_node_rank()) == std::tuple(0, 1, 0, 1, 0));
  CHECK(context.get_trial_dir().empty());
  CHECK_FALSE(get_checkpoint().has_value());
  CHECK_FALSE(progress_due());
  report_progress({}, true);
}

TEST_CASE("report: outside a job it only checks", "[unit][sdk]") {
  const test::TempDir dir;
  report({{"loss", 1.0}}, Checkpoint(dir.path()));
  CHECK_THROWS_AS(report({1, 2}), std::invalid_argument);
  CHECK_THROWS_AS(report(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(report({{"loss", 1.0}}, Checkpoint(dir / "nowhere")), std::invalid_argument);
}

TEST_CASE("checkpoint: to_directory copies", "[unit][sdk]") {
  const test::TempDir dir;
  std::filesystem::create_directories(dir / "from/sub");
  std::ofstream(dir / "from/sub/file") << "text";
  Checkpoint::from_directory(dir / "from").to_directory(dir / "to");
  CHECK(std::filesystem::exists(dir / "to/sub/file"));
}

TEST_CASE("torch trainer: with no workers the function runs here", "[unit][sdk]") {
  const test::TempDir dir;
  const auto train = [&](const Config& config) {
    CHECK(get_context().get_experiment_name() == "here");
    for (int epoch = 0; epoch < config.value("epochs", 1); ++epoch) {
      const auto folder = dir / ("local" + std::to_string(epoch));
      std::filesystem::create_directories(folder);
      std::ofstream(folder / "model") << epoch;
      report({{"epoch", epoch}, {"loss", std::abs(2 - epoch)}}, Checkpoint(folder));
    }
    report({{"epoch", 4}, {"loss", std::nan("")}});
    return get_checkpoint()->path().filename().string();
  };
  RunConfig run{.name = "here", .storage_path = (dir / "results").string()};
  run.checkpoint_config = {
      .num_to_keep = 2, .checkpoint_score_attribute = "loss", .checkpoint_score_order = "min"};
  const auto result = TorchTrainer(train, {.num_workers = 0}, run, {{"epochs", 4}}).fit();
  REQUIRE_FALSE(result.error.has_value());
  CHECK(result.return_value == "checkpoint_000003");
  CHECK(result.checkpoint->path() == result.path / "checkpoint_000003");
  CHECK(std::isnan(result.metrics.at("loss").get<double>()));
  REQUIRE(result.best_checkpoints.size() == 2);
  CHECK(result.best_checkpoints[0].first.path() == result.path / "checkpoint_000002");
  CHECK(result.get_best_checkpoint("loss", "min")->path() == result.path / "checkpoint_000002");
  CHECK(result.get_best_checkpoint("epoch", "max")->path() == result.path / "checkpoint_000003");
  CHECK_FALSE(result.get_best_checkpoint("accuracy", "max").has_value());
  CHECK_THROWS_AS(result.get_best_checkpoint("loss", "least"), std::invalid_argument);
  CHECK_FALSE(std::filesystem::exists(result.path / "checkpoint_000000"));
  CHECK(result.metrics_dataframe().size() == 5);

  const auto read = TrainingResult::from_path(result.path);
  CHECK(read.checkpoint->path() == result.checkpoint->path());
  REQUIRE(read.best_checkpoints.size() == 2);
  CHECK(read.best_checkpoints[0].first.path() == result.best_checkpoints[0].first.path());  // the best first
  CHECK(read.metrics.at("epoch") == 4);
  CHECK_THROWS_AS(TrainingResult::from_path(dir / "nowhere"), std::runtime_error);
  CHECK_THROWS_AS(TrainingResult::from_path(dir / "local0"), std::runtime_error);
}

TEST_CASE("torch trainer: what the function throws is the result's error", "[unit][sdk]") {
  const test::TempDir dir;
  const auto result = TorchTrainer([] { throw std::runtime_error("no data"); }, {.num_workers = 0},
                                   {.storage_path = dir.path().string()})
                          .fit();
  REQUIRE(result.error.has_value());
  CHECK(result.error->kind == "exception");
  CHECK(result.error->message == "no data");
  CHECK_FALSE(result.checkpoint.has_value());
}

TEST_CASE("torch trainer: a wrong configuration is told with its path", "[unit][sdk]") {
  try {
    (void)TorchTrainer([] {}, {.num_workers = -2}, {.failure_config = {.max_failures = -7}}).fit();
    FAIL("accepted");
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    CHECK(message.find("scaling_config.num_workers") != std::string::npos);
    CHECK(message.find("run_config.failure_config.max_failures") != std::string::npos);
  }
}

}  // namespace context_test
