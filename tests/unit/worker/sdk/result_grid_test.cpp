#include <rtrain/result_grid.h>

#include "proto/api/api.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>

namespace result_grid_test {

using namespace rtrain;
using nlohmann::json;

namespace {

/// The folder of a run that reported these losses.
std::string run_in(const test::TempDir& dir, const std::string& name, const std::vector<json>& losses) {
  const auto folder = dir / name;
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "params.json") << "{}\n";
  std::ofstream file(folder / "metrics.jsonl");
  int report = 0;
  for (const auto& loss : losses)
    file << json{{"attempt", 1},
                 {"report", ++report},
                 {"time", ""},
                 {"checkpoint", nullptr},
                 {"metrics", {{"loss", loss}, {"epoch", report}}}}
                .dump()
         << "\n";
  return folder.string();
}

json trial(int number, const std::string& state, const json& path,
           std::optional<std::int64_t> rung = std::nullopt) {
  proto::TrialDoc doc;
  doc.trial = number;
  doc.state = state;
  doc.job = JobId(10 + number);
  doc.params = {{"lr", number}};
  doc.rung = rung;
  doc.reason = "reason " + std::to_string(number);
  json document = doc;
  document["config"] = {{"lr", number}, {"epochs", 3}};
  document["path"] = path;
  return document;
}

json sweep(std::optional<std::int64_t> best) {
  proto::SweepDoc doc;
  doc.id = JobId(3);
  doc.state = "SUCCEEDED";
  doc.reason = "5 trials, the best is 1";
  doc.metric = "loss";
  doc.mode = "min";
  doc.best_trial = best;
  return doc;
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("result grid: trials, the best by each scope, and errors", "[unit][sdk]") {
  const test::TempDir dir;
  const auto grid = ResultGrid::from_document(
      {{"sweep", sweep(1)},
       {"trials",
        {trial(4, "INVALID", (dir / "nothing").string()), trial(0, "PRUNED", run_in(dir, "0", {0.9, 0.1}), 0),
         trial(1, "COMPLETED", run_in(dir, "1", {0.05, 0.3}), 1),
         trial(2, "COMPLETED", run_in(dir, "2", {0.5, "NaN"}), 1), trial(3, "FAILED", nullptr)}}});
  REQUIRE(grid.size() == 5);
  CHECK(grid.state() == "SUCCEEDED");
  for (std::size_t i = 0; i < grid.size(); ++i) CHECK(grid[i].trial == static_cast<std::int64_t>(i));
  CHECK(grid[1].metrics.at("loss") == 0.3);
  CHECK(grid[1].config.at("epochs") == 3);
  CHECK(grid[1].path.filename() == "1");
  CHECK_FALSE(grid[1].error.has_value());
  CHECK(grid.num_errors() == 1);
  CHECK(grid.num_terminated() == 3);
  REQUIRE(grid.errors().size() == 1);
  CHECK(grid.errors().front().message == "reason 3");
  CHECK(grid[4].error->kind == "invalid_hyperparameters");
  CHECK(grid[4].path.empty());

  CHECK(grid.get_best_result().trial == 1);  // the sweep's own word
  CHECK(grid.get_best_result("loss", "max").trial == 1);
  CHECK(grid.get_best_result("", "", "last").trial == 0);
  CHECK(grid.get_best_result("", "", "all").trial == 1);
  CHECK(grid.get_best_result("", "max", "all").trial == 0);
  CHECK(message_of([&] { (void)grid.get_best_result("accuracy"); }) ==
        "get_best_result: no trial of 5 has a value of accuracy; the sweep is SUCCEEDED: 5 trials, the "
        "best is 1");
  CHECK_THROWS_AS(grid.get_best_result("", "least"), std::invalid_argument);

  const auto rows = grid.get_dataframe();
  REQUIRE(rows.size() == 5);
  CHECK(rows[1].at("config/lr") == 1);
  CHECK(rows[1].at("loss") == 0.3);
  CHECK(rows[3].at("state") == "FAILED");
}

TEST_CASE("result grid: a document of something else is refused", "[unit][sdk]") {
  CHECK(message_of([] { (void)ResultGrid::from_document({{"sweep", sweep(std::nullopt)}}); }) ==
        "rtrain sweep run gave a document without \"trials\": is it of the same version as this SDK?");
  CHECK_THROWS_AS(ResultGrid::from_document({{"sweep", 3}, {"trials", json::array()}}), std::runtime_error);
  const auto empty = ResultGrid::from_document({{"sweep", sweep(std::nullopt)}, {"trials", json::array()}});
  CHECK(message_of([&] {
          (void)empty.get_best_result();
        }).starts_with("get_best_result: no trial of 0 has a value of loss"));
}

}  // namespace result_grid_test
