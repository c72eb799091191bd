// What a Tuner makes of its search space and its TuneConfig: a sweep file.
#include <rtrain/tune.h>

#include "tests/support/catch.h"
#include "worker/sdk/tune_document.h"

#include <stdexcept>

namespace tune_test {

using namespace rtrain;
using nlohmann::json;

namespace {

const json kJob{{"name", "search"}, {"command", {"./program"}}, {"working_dir", "/"}};

json document_of(const tune::ParamSpace& space, const TuneConfig& config = {.metric = "loss"}) {
  return sdk::tune_document(kJob, space, config);
}
json domain_of(const tune::Parameter& parameter) { return parameter.domain().json(); }

}  // namespace

TEST_CASE("tune: each domain is one of the sweep file", "[unit][sdk]") {
  struct Row {
    tune::Parameter parameter;
    json expected;
  };
  const std::vector<Row> rows{
      {tune::uniform(0.5, 2), {{"float", {0.5, 2.0}}}},
      {tune::quniform(0, 1, 0.25), {{"float", {0.0, 1.0}}, {"step", 0.25}}},
      {tune::loguniform(1e-5, 0.1), {{"float", {1e-5, 0.1}}, {"log", true}}},
      {tune::randn(1, 2), {{"normal", {1.0, 2.0}}}},
      {tune::randint(1, 8), {{"int", {1, 8}}}},
      {tune::qrandint(8, 64, 8), {{"int", {8, 64}}, {"step", 8}}},
      {tune::lograndint(8, 64), {{"int", {8, 64}}, {"log", true}}},
      {tune::choice({"adam", "sgd"}), {{"choice", {"adam", "sgd"}}}},
      {tune::choice({32}), {{"choice", json::array({32})}}},
      {tune::ordinal({32, 64}), {{"ordinal", {32, 64}}}},
      {tune::grid_search({true, false}), {{"grid", {true, false}}}},
      {tune::uniform(0.5, 1).when("optimizer", "sgd"),
       {{"float", {0.5, 1.0}}, {"when", {{"optimizer", "sgd"}}}}},
      {3, {{"constant", 3}}},
      {"adam", {{"constant", "adam"}}},
      {json{{"a", 1}}, {{"constant", {{"a", 1}}}}},
  };
  tune::ParamSpace space;
  for (const auto& row : rows) {
    CHECK(domain_of(row.parameter) == row.expected);
    if (!row.expected.contains("when") && !row.expected.contains("grid"))
      space.emplace("p" + std::to_string(space.size()), row.parameter);
  }
  const auto reading = proto::read_sweep_document(document_of(space));
  INFO(sdk::tuner_errors(reading.errors));
  CHECK(reading.ok());
}

TEST_CASE("tune: the smallest sweep has the rules of the sweep file", "[unit][sdk]") {
  const auto document = document_of({{"lr", tune::uniform(0, 1)}, {"model.width", 8}});
  CHECK(document ==
        json{{"name", "search"},
             {"job", kJob},
             {"parameters", {{"lr", {{"float", {0.0, 1.0}}}}, {"model.width", {{"constant", 8}}}}},
             {"metric", "loss"},
             {"mode", "min"},
             {"seed", 0},
             {"search", "tpe"},
             {"schedule", "none"},
             {"limits", {{"trials", 1}}}});
  const auto reading = proto::read_sweep_document(document);
  REQUIRE(reading.ok());
  CHECK(reading.spec.limits.trials == 1);
}

TEST_CASE("tune: every field of TuneConfig has its place", "[unit][sdk]") {
  const auto document =
      document_of({{"lr", tune::uniform(0, 1)}},
                  {.metric = "accuracy",
                   .mode = "max",
                   .num_samples = 20,
                   .max_concurrent_trials = 4,
                   .search_alg = tune::TPESearch{.n_startup_trials = 5},
                   .scheduler = tune::ASHAScheduler{.max_t = 27, .mode = tune::Halving::kStop},
                   .time_attr = "step",
                   .time_budget_s = 1800,
                   .seed = 7,
                   .points_to_evaluate = {{{"lr", 0.5}}},
                   .sweep_file = {{"limits", {{"target", 0.9}}}, {"baseline", false}}});
  CHECK(document.at("metric") == "accuracy");
  CHECK(document.at("mode") == "max");
  CHECK(document.at("limits") == json{{"trials", 20}, {"running", 4}, {"hours", 0.5}, {"target", 0.9}});
  CHECK(document.at("search") == json{{"method", "tpe"}, {"startup", 5}, {"candidates", 24}});
  CHECK(document.at("schedule") ==
        json{{"asha", {{"min", 1.0}, {"max", 27.0}, {"eta", 3.0}, {"mode", "stop"}}}});
  CHECK(document.at("resource") == "step");
  CHECK(document.at("seed") == 7);
  CHECK(document.at("start_with") == json::array({{{"lr", 0.5}}}));
  CHECK(document.at("baseline") == false);
  CHECK(proto::read_sweep_document(document).ok());
}

TEST_CASE("tune: every search algorithm and scheduler is one of the sweep file", "[unit][sdk]") {
  const tune::ParamSpace space{{"lr", tune::uniform(0, 1)}};
  const std::vector<std::pair<tune::SearchAlgorithm, std::string>> searches{
      {tune::BasicVariantGenerator{}, "random"},
      {tune::SobolSearch{}, "sobol"},
      {tune::TPESearch{}, "tpe"},
      {tune::CmaEsSearch{.sigma0 = 0.3, .popsize = 6}, "cmaes"}};
  for (const auto& [search, name] : searches) {
    const auto reading = proto::read_sweep_document(
        document_of(space, {.metric = "loss", .num_samples = 8, .search_alg = search}));
    INFO(name << " " << sdk::tuner_errors(reading.errors));
    REQUIRE(reading.ok());
    CHECK(proto::to_string(reading.spec.search.method) == name);
  }
  const std::vector<std::pair<tune::Scheduler, std::string>> schedulers{
      {tune::FIFOScheduler{}, "none"},
      {tune::ASHAScheduler{.max_t = 9}, "asha"},
      {tune::HyperBandScheduler{.max_t = 9, .brackets = "aggressive"}, "hyperband"},
      {tune::MedianStoppingRule{.min_samples_required = 3}, "median"},
      {tune::PopulationBasedTraining{.perturbation_interval = 2}, "pbt"}};
  for (const auto& [scheduler, name] : schedulers) {
    const auto reading = proto::read_sweep_document(
        document_of(space, {.metric = "loss", .num_samples = 8, .scheduler = scheduler}));
    INFO(name << " " << sdk::tuner_errors(reading.errors));
    REQUIRE(reading.ok());
    CHECK(proto::to_string(reading.spec.schedule.kind) == name);
  }
}

TEST_CASE("tune: where the members of a population end", "[unit][sdk]") {
  const auto document =
      document_of({{"lr", tune::uniform(0, 1)}},
                  {.metric = "loss",
                   .num_samples = 8,
                   .scheduler = tune::PopulationBasedTraining{.perturbation_interval = 2, .max_t = 20}});
  CHECK(document.at("schedule").at("pbt").at("max") == 20.0);
  CHECK(proto::read_sweep_document(document).ok());
}

TEST_CASE("tune: a grid_search makes a grid, each point of which is tried once", "[unit][sdk]") {
  const tune::ParamSpace space{{"lr", tune::grid_search({0.1, 0.2})}, {"width", tune::randint(1, 3)}};
  const auto document = document_of(space);
  CHECK(document.at("search") == "grid");
  CHECK(document.at("limits") == json::object());
  CHECK(proto::read_sweep_document(document).ok());
  CHECK(document_of(space, {.metric = "loss", .search_alg = tune::BasicVariantGenerator{}}).at("search") ==
        "grid");
  CHECK_THROWS_WITH(
      document_of(space, {.metric = "loss", .num_samples = 3}),
      "Tuner:\n  tune_config.num_samples: is 3, and a grid tries each of its points once; leave it out");
}

TEST_CASE("tune: what is out of range is told with the Tuner's names, all at once", "[unit][sdk]") {
  const auto reading = proto::read_sweep_document(document_of(
      {{"lr", tune::loguniform(0, 1)}},
      {.mode = "least", .num_samples = 0, .scheduler = tune::ASHAScheduler{.reduction_factor = 1}}));
  const auto text = sdk::tuner_errors(reading.errors);
  INFO(text);
  CHECK(text.starts_with("Tuner:\n"));
  for (const auto* part :
       {"\n  param_space.lr.float: a logarithm needs low above 0", "\n  tune_config.metric: missing",
        "\n  tune_config.mode: ", "\n  tune_config.num_samples: ", "\n  tune_config.scheduler.max_t: missing",
        "\n  tune_config.scheduler.reduction_factor: "})
    CHECK(text.find(part) != std::string::npos);
}

}  // namespace tune_test
