#include "proto/sweep/sweep_reader.h"
#include "proto/jobspec/object_reader.h"
#include "proto/sweep/sweep_event.h"
#include "tests/support/catch.h"

#include "common/os/file.h"

namespace sweep_reader_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

constexpr const char* kWhole = R"({
  "name": "fashion-lr",
  "job": {"command": ["train"], "train_loop_config": {"lr": 0.001, "batch_size": 64, "optimizer": "adam"}},
  "metric": "val_loss", "mode": "min", "seed": 1, "resource": "epoch",
  "parameters": {
    "lr": {"float": [1e-5, 1e-1], "log": true},
    "batch_size": {"ordinal": [32, 64, 128, 256]},
    "optimizer": {"choice": ["adam", "sgd"]},
    "momentum": {"float": [0.5, 0.99], "when": {"optimizer": "sgd"}},
    "model.width": {"int": [8, 64], "step": 8},
    "noise": {"normal": [0, 1]},
    "env.KIND": {"constant": "sweep"},
    "scaling_config.num_workers": {"int": [1, 4]}
  },
  "search": {"method": "tpe", "startup": 5},
  "schedule": {"asha": {"min": 1, "max": 27, "eta": 3}},
  "limits": {"trials": 64, "running": 8, "gpu_hours": 40, "target": 0.1},
  "constraints": {"params_m": {"max": 25}},
  "start_with": [{"lr": 0.01}, {"optimizer": "sgd", "momentum": 0.9}]
})";

std::vector<std::string> errors_of(std::string_view text, const JobText& job_text = {}) {
  std::vector<std::string> lines;
  for (const auto& error : read_sweep_spec(text, job_text).errors)
    lines.push_back(std::to_string(error.line) + ":" + std::to_string(error.column) + ": " +
                    to_string(error));
  return lines;
}

/// The errors of a small valid sweep with some fields set to others, without places.
std::vector<std::string> errors_with(Json change) {
  Json document{{"job", {{"command", {"true"}}}},
                {"metric", "loss"},
                {"parameters", {{"lr", {{"float", {0, 1}}}}}},
                {"limits", {{"trials", 10}}}};
  document.merge_patch(change);
  std::vector<std::string> lines;
  for (const auto& error : read_sweep_document(document).errors) lines.push_back(to_string(error));
  return lines;
}
using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("sweep file: it is read, and what is written of it reads back the same") {
  const auto reading = read_sweep_spec(kWhole);
  for (const auto& error : reading.errors) UNSCOPED_INFO(to_string(error));
  REQUIRE(reading.ok());
  const auto& spec = reading.spec;
  CHECK(spec.parameters.size() == 8);
  CHECK(spec.search.startup == 5);
  CHECK(spec.schedule.max == 27);
  CHECK(spec.limits.gpu_hours == 40);
  const auto again = read_sweep_document(parse_json(dump_json(to_json(spec))).value());
  for (const auto& error : again.errors) UNSCOPED_INFO(to_string(error));
  REQUIRE(again.ok());
  CHECK(again.spec == spec);
}

TEST_CASE("sweep file: all errors at once, with places and nearest names") {
  CHECK(errors_of(R"({
  "job": {"command": ["true"], "scaling_config": {"num_worker": 2}},
  "parameters": {
    "lr": {"float": [0.1, 0.01], "logg": true},
    "width": {"int": [1, 9.5]},
    "kind": {"choice": ["a", "a"]},
    "decay": {"uniform": [0, 1]},
    "momentum": {"float": [0, 1], "when": {"optimiser": "sgd"}}
  },
  "mode": "minimum",
  "search": {"method": "tpee"},
  "schedule": {"asha": {"min": 3, "max": 1}},
  "limits": {"trials": 0},
  "seeed": 1
})") == Lines{"0:0: metric: missing; name the reported number that is searched by",
              "2:51: job.scaling_config.num_worker: unknown key; did you mean num_workers?",
              "4:12: parameters.lr.float: low stands first: [0.01, 0.1]",
              "4:34: parameters.lr.logg: unknown key; did you mean log?",
              "5:15: parameters.width.int: expected two whole numbers",
              "6:30: parameters.kind.choice[1]: \"a\" is there twice",
              "7:5: parameters.decay: names no domain: one of float, int, choice, ordinal, normal, grid, "
              "constant",
              "8:35: parameters.momentum.when: \"optimiser\" is no parameter of the sweep",
              "10:3: mode: \"minimum\" is not one of min, max; did you mean min?",
              "11:14: search.method: \"tpee\" is not one of random, grid, sobol, tpe, cmaes, external; did "
              "you mean tpe?",
              "12:35: schedule.asha.max: 1 is not above min, 3",
              "13:14: limits.trials: 0 is out of range; it must be from 1 to 100000",
              "14:3: seeed: unknown key; did you mean seed?"});
}

TEST_CASE("sweep file: parts that do not go together") {
  CHECK(errors_with({{"search", "grid"}}) ==
        Lines{"parameters.lr: a grid needs values; give it a step, or write choice or grid"});
  CHECK(errors_with({{"parameters", {{"lr", {{"float", nullptr}, {"grid", {1, 2}}}}}}}) ==
        Lines{"parameters.lr: grid goes with the search method grid; write choice or ordinal"});
  CHECK(errors_with({{"search", "cmaes"}, {"parameters", {{"k", {{"choice", {1, 2}}}}}}}) ==
        Lines{"parameters.k: cmaes searches numbers and ordinals only; write ordinal, or use tpe"});
  CHECK(errors_with({{"parameters", {{"lr.x", {{"float", {0, 1}}}}}}}) ==
        Lines{"parameters.lr.x: lies inside of another parameter, lr"});
  CHECK(errors_with({{"parameters", {{"train_loop_config.x", {{"float", {0, 1}}}}}}}) ==
        Lines{"parameters.train_loop_config.x: write x"});
  CHECK(errors_with({{"start_with", {{{"lrr", 1}}, {{"lr", 2}}}}}) ==
        Lines{"start_with[0].lrr: no parameter of the sweep; did you mean lr?",
              "start_with[1].lr: 2 is not in [0, 1]"});
  CHECK(errors_with({{"job", {{"command", {"train"}}, {"scheduling", {{"hold", true}}}}}}) ==
        Lines{"job: is held; leave scheduling.hold out, and pause the sweep: rtrain sweep pause"});
  CHECK(errors_with({{"schedule", "asha"}}) ==
        Lines{"schedule: expected \"none\" or an object with one key, like {\"asha\": {\"max\": 81}}"});
  CHECK(errors_with({{"schedule", {{"pbt", {{"perturbation_interval", 4}}}}}}) ==
        Lines{"schedule.pbt.interval: missing; the resource between two changes of a member, say 2 epochs",
              "schedule.pbt.perturbation_interval: write interval, in units of the resource"});
  CHECK(errors_with({{"num_samples", 4}}) == Lines{"num_samples: a name of Ray's; write limits.trials"});
}

TEST_CASE("sweep file: cmaes learns from trials that end, so none may be paused") {
  for (const std::string kind : {"asha", "hyperband"}) {
    CHECK(errors_with({{"search", "cmaes"}, {"schedule", {{kind, {{"max", 9}}}}}}) ==
          Lines{"schedule." + kind +
                ": pauses trials, and cmaes learns from those that have ended; write \"mode\": \"stop\", or "
                "use the search method tpe"});
    CHECK(errors_with({{"search", "cmaes"}, {"schedule", {{kind, {{"max", 9}, {"mode", "stop"}}}}}}).empty());
  }
}

TEST_CASE("sweep file: numbers that are too far apart to be searched between") {
  CHECK(errors_with({{"parameters", {{"lr", {{"float", {-1.5e308, 1.5e308}}}}}}}) ==
        Lines{"parameters.lr.float: is wider than the largest number, 1.8e+308; write ends that are closer"});
  CHECK(errors_with({{"parameters", {{"noise", {{"normal", {0, 1e307}}}}}}}) ==
        Lines{"parameters.noise.normal: has values above the largest number, 1.8e+308; write a smaller mean "
              "or sd"});
  CHECK(errors_with({{"schedule", {{"hyperband", {{"min", 1e-300}, {"max", 1e300}}}}}}) ==
        Lines{"schedule.hyperband.max: is more than 1.8e+308 times min, 1e-300; write a larger min"});
}

TEST_CASE("sweep file: how much may stand in it") {
  const auto count = [](int n, const Json& domain) {
    Json parameters = Json::object();
    for (int i = 0; i < n; ++i) parameters["p" + std::to_string(i)] = domain;
    return parameters;
  };
  const Json number{{"float", {0, 1}}};
  CHECK(errors_with({{"from", {3, 3}}, {"search", "random"}}) ==
        Lines{"from[1]: sweep 3 is named twice", "from: only tpe learns from the trials of other sweeps"});
  CHECK(errors_with({{"from", {0, "5"}}}) ==
        Lines{"from[0]: expected the number of a sweep", "from[1]: expected the number of a sweep"});
  CHECK(errors_with({{"from", 5}}) == Lines{"from: expected a list of at most 100 numbers of sweeps"});
  CHECK(errors_with({{"parameters", count(1000, number)}, {"start_with", {{{"p0", 2}}}}}) ==
        Lines{"parameters: there are more than 1000"});  // with lr
  CHECK(errors_with({{"parameters", count(99, number)}, {"search", "cmaes"}}).empty());
  CHECK(errors_with({{"parameters", count(100, number)}, {"search", "cmaes"}}) ==
        Lines{"parameters: cmaes searches at most 100 of them, these are 101; use tpe"});
  CHECK(errors_with({{"parameters", count(100, {{"constant", 1}})}, {"search", "cmaes"}}).empty());
  Json values = Json::array();
  for (int i = 0; i <= 1000; ++i) values.push_back(i);
  CHECK(errors_with({{"parameters", {{"k", {{"choice", values}}}}}}) ==
        Lines{"parameters.k.choice: has 1001 values; at most 1000, or write int or float with a step"});
}

TEST_CASE("sweep file: values that the job itself does not take") {
  CHECK(errors_with({{"parameters", {{"scaling_config.num_workers", {{"int", {0, 4}}}}}}}) ==
        Lines{"parameters.scaling_config.num_workers: with 0 the job has scaling_config.num_workers: 0 runs "
              "in the "
              "caller's process, which only TorchTrainer::fit() can do; a submitted job needs at least 1"});
  CHECK(errors_with({{"job", {{"train_loop_config", {{"model", 3}}}}},
                     {"parameters", {{"model.width", {{"int", {1, 4}}}}}}}) ==
        Lines{"parameters.model.width: train_loop_config.model of the job is no object, so nothing can be "
              "put into it"});
}

TEST_CASE("sweep file: what is written is read again, each field of each schedule") {
  for (const auto& schedule :
       {Json{{"asha", {{"min", 2}, {"max", 18}, {"eta", 4}, {"mode", "stop"}}}},
        Json{{"hyperband", {{"max", 81}, {"eta", 3}, {"brackets", "conservative"}, {"max_rungs", 4}}}},
        Json{{"median", {{"startup_trials", 3}, {"grace", 2}, {"interval", 5}}}},
        Json{{"pbt",
              {{"interval", 2},
               {"max", 20},
               {"burn_in", 4},
               {"quantile_fraction", 0.5},
               {"resample_probability", 0.125},
               {"factors", {1.5, 0.5}}}}}}) {
    const Json document{
        {"job", {{"command", {"true"}}}}, {"metric", "loss"}, {"parameters", {{"lr", {{"float", {0, 1}}}}}},
        {"limits", {{"trials", 4}}},      {"from", {5, 6}},   {"schedule", schedule}};
    const auto read = read_sweep_document(document);
    INFO(schedule.dump());
    REQUIRE(read.ok());
    const auto written = to_json(read.spec);
    const auto again = read_sweep_document(written);
    REQUIRE(again.ok());
    CHECK(again.spec == read.spec);
    for (const auto& [key, value] : schedule.front().items())
      CHECK(written["schedule"].front()[key] == value);
  }
}

TEST_CASE("sweep file: the job may be a file") {
  const std::string text =
      R"({"job": "job.json", "metric": "loss", "parameters": {"lr": {"float": [0, 1]}}, "limits": {"trials": 1}})";
  const auto job = [](const char* content) {
    return [content](const std::string&) -> Result<std::string> { return std::string(content); };
  };
  CHECK(errors_of(text, job(R"({"command": ["true"], "name": "x"})")).empty());
  CHECK(read_sweep_spec(text, job(R"({"command": ["true"], "name": "x"})")).spec.name == "x");
  CHECK(errors_of(text, job("{\n  \"commnd\": [\"true\"]}")) ==
        Lines{"1:2: job: job.json: a job needs train_func (a training function) or command (a program)",
              "1:2: job: job.json:2:3: commnd: unknown key; did you mean command?"});
  CHECK(errors_of(text) == Lines{"1:2: job: the job itself must stand here, not the path of its file"});
}

TEST_CASE("sweep file: a trial's job has its parameters at their paths") {
  const auto spec = read_sweep_spec(kWhole).spec;
  const auto job = job_of(
      spec, {{"lr", 0.5}, {"model.width", 16}, {"env.KIND", "sweep"}, {"scaling_config.num_workers", 3}});
  REQUIRE(job.has_value());
  CHECK(job->train_loop_config ==
        Json{{"lr", 0.5}, {"batch_size", 64}, {"optimizer", "adam"}, {"model", {{"width", 16}}}});
  CHECK(job->env.at("KIND") == "sweep");
  CHECK(job->scaling_config.num_workers == 3);
  CHECK(baseline_of(spec) ==
        Json{{"lr", 0.001}, {"batch_size", 64}, {"optimizer", "adam"}, {"scaling_config.num_workers", 1}});
  CHECK_FALSE(is_complete(spec, baseline_of(spec)));
  CHECK(read_sweep_spec(kWhole).notes.size() == 1);
}

TEST_CASE("sweep schema: it is what stands in the source tree, and knows the reader's keys") {
  CHECK(sweep_schema() == *os::read_file(RTRAIN_SOURCE_DIR "/proto/sweep/sweep.schema.json"));
  const Json schema = parse_json(sweep_schema()).value();
  // What is written of a sweep uses every key that has a default; the schema has each of them.
  const Json written = to_json(read_sweep_spec(kWhole).spec);
  for (const auto& [key, ignored] : written.items()) {
    INFO(key);
    CHECK(schema.at("properties").contains(key));
  }
  // A key that the schema has, the reader knows.
  for (const auto& [key, ignored] : schema.at("properties").items()) {
    INFO(key);
    for (const auto& line : errors_with({{key, Json::object()}}))
      CHECK(line.find(key + ": unknown key") == std::string::npos);
  }
}

TEST_CASE("sweep events: each survives the way to JSON and back") {
  const std::vector<SweepEvent> events{SweepSubmitted{read_sweep_spec(kWhole).spec, "ada"},
                                       TrialSuggested{3, {{"lr", 0.1}}, "tpe", 2},
                                       TrialSubmitted{3, JobId(17)},
                                       RungReached{3, 1, 3.0, std::nullopt, {{"params_m", 4}}, true, 12},
                                       TrialPaused{3, 1, "rank 2 of 5"},
                                       TrialPromoted{3, 1, "rank 1 of 9"},
                                       TrialStopped{3, 1, true, "done"},
                                       TrialCloned{3, 4, 2, {{"lr", 0.2}}, "/runs/x", "lower", 6},
                                       TrialEnded{3, TrialOutcome::kInvalid, 0.5, 9, {}, "too wide"},
                                       TrialEnqueued{{{"lr", 0.3}}, "ada"},
                                       SweepHeld{"ada", "no such job"},
                                       SweepReleased{"ada"},
                                       SweepExtended{50, "ada"},
                                       SweepStopping{"limits.hours", true, SweepOutcome::kCancelled},
                                       SweepEnded{SweepOutcome::kFailed, "no"}};
  CHECK(events.size() == std::variant_size_v<SweepEvent>);
  for (const auto& event : events) {
    INFO(event_name(event));
    const Json json = to_json(StampedSweepEvent{7, event});
    const auto again = sweep_event_from_json(parse_json(dump_json(json)).value());
    REQUIRE(again.has_value());
    CHECK(to_json(*again) == json);
  }
  CHECK(sweep_event_from_json({{"type", "trial_paused"}}).error().message() == "trial_paused.trial: missing");
}

}  // namespace sweep_reader_test
