#include "tests/support/catch.h"
#include "tests/support/training.h"
#include "worker/profilers/key_averages.h"
#include "worker/profilers/schedule.h"

#include <rtrain/profilers.h>

#include <fstream>
#include <set>
#include <sstream>

namespace profiler_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::Folder;
using rtrain::test::quiet;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct M : test::BoringModel {
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    const auto timed = trainer().profiler().profile("my own");
    return BoringModel::training_step(batch, i);
  }
  Optimizers configure_optimizers() override {
    const auto sgd = optim::SGD(parameters(), {.lr = 0.1});
    return {{sgd}, {lr::StepLR(sgd, {.step_size = 1})}};
  }
};

}  // namespace

TEST_CASE("SimpleProfiler: actions have Lightning's names", "[unit][profilers]") {
  const auto profiler = std::make_shared<SimpleProfiler>();
  M model;
  Trainer trainer(quiet({.max_epochs = 1, .profiler = profiler}));
  const test::Heard heard;
  trainer.fit(model, boring_loader(8, 4), boring_loader(4, 4));

  std::set<std::string> ours, lightnings;
  for (const auto& [action, durations] : profiler->recorded_durations()) ours.insert(action);
  std::istringstream golden(text_of(RTRAIN_SOURCE_DIR "/tests/golden/profilers/simple_actions.txt"));
  for (std::string line; std::getline(golden, line);) lightnings.insert(line);
  // Hooks of Lightning's strategies, which are empty; ours have none.
  const std::set<std::string> only_lightning{
      "[Strategy]SingleDeviceStrategy.on_train_batch_start", "[Strategy]SingleDeviceStrategy.on_train_end",
      "[Strategy]SingleDeviceStrategy.on_train_start", "[Strategy]SingleDeviceStrategy.on_validation_end",
      "[Strategy]SingleDeviceStrategy.on_validation_start"};
  for (const auto& action : lightnings) {
    INFO(action);
    CHECK((ours.contains(action) || only_lightning.contains(action)));
  }
  const auto& recorded = profiler->recorded_durations();
  CHECK(recorded.at("my own").calls == 2);
  CHECK(recorded.at("[Strategy]SingleDeviceStrategy.training_step").calls == 2);
  CHECK(recorded.at("[LightningModule]M.optimizer_step").calls == 2);
  CHECK(recorded.at("run_training_batch").calls == 2);
  CHECK(recorded.at("run_training_epoch").calls == 1);
  CHECK(recorded.at("[LightningModule]M.on_train_epoch_end").calls == 1);
  CHECK(recorded.at("run_training_epoch").total >= recorded.at("run_training_batch").total);
  CHECK_THAT(heard.text(), Catch::Contains("FIT Profiler Report\n") && Catch::Contains("| Action ") &&
                               Catch::Contains("| Mean duration (s) | Num calls |") &&
                               Catch::Contains("| run_training_epoch "));
}

TEST_CASE("SimpleProfiler: a callback's actions, a file of its own, a run that fails", "[unit][profilers]") {
  const Folder folder;
  const auto profiler = std::make_shared<SimpleProfiler>(
      SimpleProfilerOptions{.dirpath = folder.path(), .filename = "times", .extended = false});
  M model;
  Trainer trainer(quiet({.max_epochs = 1,
                         .callbacks = {LambdaCallback({.on_train_end = [](Trainer&, LightningModule&) {}})},
                         .profiler = profiler}));
  (void)trainer.validate(model, boring_loader(1));
  const auto report = text_of(folder / "validate-times-0.txt");
  CHECK_THAT(report, Catch::Contains("VALIDATE Profiler Report") && Catch::Contains("Mean duration (s)") &&
                         !Catch::Contains("Num calls") &&
                         Catch::Contains("[Callback]rtrain::LambdaCallback.on_validation_start") &&
                         Catch::Contains("[_EvaluationLoop].val_next"));
  struct Fails : M {
    StepOutput training_step(const Batch&, std::int64_t) override { throw std::runtime_error("broken"); }
  } fails;
  const test::Heard heard;
  CHECK_THROWS_WITH(trainer.fit(fails, boring_loader(1)), "broken");
  CHECK_FALSE(std::filesystem::exists(folder / "fit-times-0.txt"));
  CHECK(&trainer.profiler() == profiler.get());
}

TEST_CASE("profiler: by name, and names that are not there", "[unit][profilers]") {
  CHECK(dynamic_cast<SimpleProfiler*>(&Trainer(quiet({.max_epochs = 1, .profiler = "simple"})).profiler()) !=
        nullptr);
  CHECK(Trainer(quiet({.max_epochs = 1})).profiler().summary().empty());
  CHECK_THROWS_WITH(
      Trainer(quiet({.max_epochs = 1, .profiler = "advanced"})),
      Catch::Contains("profiles Python") && Catch::Contains("\"simple\"") && Catch::Contains("perf"));
  CHECK_THROWS_WITH(Trainer(quiet({.max_epochs = 1, .profiler = "xla"})), Catch::Contains("use \"pytorch\""));
  CHECK_THROWS_WITH(Trainer(quiet({.max_epochs = 1, .profiler = "simpel"})),
                    Catch::Contains("profiler is \"simpel\", expected \"pytorch\", \"simple\""));
}

TEST_CASE("schedule: waits, warms up, records, and begins again", "[unit][profilers]") {
  using enum profilers::StepAction;
  const profilers::Schedule schedule{.skip_first = 1, .wait = 1, .warmup = 1, .active = 2, .repeat = 2};
  std::vector<profilers::StepAction> actions;
  for (int step = 0; step < 11; ++step) actions.push_back(schedule.at(step));
  const std::vector expected{kNone,   kNone,   kWarmUp,        kRecord, kRecordAndSave, kNone,
                             kWarmUp, kRecord, kRecordAndSave, kNone,   kNone};
  CHECK((actions == expected));
}

TEST_CASE("key averages: self is without what was called, kernels count for who started them",
          "[unit][profilers]") {
  auto averages = profilers::key_averages(
      {{.name = "outer", .start_ns = 0, .end_ns = 10'000, .thread = 1},
       {.name = "inner", .start_ns = 1'000, .end_ns = 4'000, .thread = 1, .correlation = 7},
       {.name = "inner", .start_ns = 5'000, .end_ns = 6'000, .thread = 1},
       {.name = "outer", .start_ns = 0, .end_ns = 2'000, .thread = 2},
       {.name = "kernel", .start_ns = 3'000, .end_ns = 9'000, .started_by = 7, .on_gpu = true}});
  profilers::sort_by(averages, "cpu_time_total");
  REQUIRE(averages.size() == 3);
  CHECK(averages[0].name == "outer");
  CHECK(averages[0].count == 2);
  CHECK(averages[0].cpu_us == 12);
  CHECK(averages[0].self_cpu_us == 8);
  CHECK(averages[0].cuda_us == 6);
  CHECK(averages[0].self_cuda_us == 0);
  CHECK(averages[1].name == "inner");
  CHECK(averages[1].self_cuda_us == 6);
  CHECK(averages[2].name == "kernel");
  CHECK(averages[2].cpu_us == 0);
  const auto table = profilers::table_of(averages, 2, true, false);
  CHECK_THAT(table, Catch::Contains("# of Calls") && Catch::Contains("| inner ") &&
                        !Catch::Contains("| kernel ") &&
                        Catch::Contains("Self CPU time total: 12us\nSelf CUDA time total: 6us"));
}

TEST_CASE("PyTorchProfiler: a trace of the active steps, by the names of actions and operators",
          "[unit][profilers]") {
  const Folder folder;
  const auto profiler = std::make_shared<PyTorchProfiler>(PyTorchProfilerOptions{.dirpath = folder.path(),
                                                                                 .filename = "ops",
                                                                                 .wait = 1,
                                                                                 .warmup = 1,
                                                                                 .active = 2,
                                                                                 .repeat = 1,
                                                                                 .with_flops = true});
  M model;
  Trainer trainer(quiet({.max_epochs = 1, .profiler = profiler}));
  trainer.fit(model, boring_loader(24, 4));
  REQUIRE(profiler->traces().size() == 1);
  CHECK(profiler->traces()[0] == folder / "fit-ops-0.0.pt.trace.json");

  const auto trace = nlohmann::json::parse(text_of(profiler->traces()[0]));
  std::map<std::string, int> names;
  for (const auto& event : trace.at("traceEvents"))
    if (event.value("ph", "") == "X") ++names[event.at("name").get<std::string>()];
  CHECK(names["[Strategy]SingleDeviceStrategy.training_step"] == 2);
  CHECK(names["[Strategy]SingleDeviceStrategy.backward"] == 2);
  CHECK(names["my own"] == 2);
  CHECK(names["aten::addmm"] == 2);
  CHECK(names["ProfilerStep#2"] == 1);
  CHECK(names["ProfilerStep#3"] == 1);
  CHECK(names.count("ProfilerStep#1") == 0);
  CHECK(names.count("ProfilerStep#4") == 0);

  const auto& averages = profiler->key_averages();
  const auto linear =
      std::find_if(averages.begin(), averages.end(), [](const auto& a) { return a.name == "aten::addmm"; });
  REQUIRE(linear != averages.end());
  CHECK(linear->count == 2);
  CHECK(linear->flops > 0);
  CHECK_THAT(text_of(folder / "fit-ops-0.txt"), Catch::Contains("| aten::addmm ") &&
                                                    Catch::Contains("# of Calls") &&
                                                    Catch::Contains("trace: "));
}

TEST_CASE("PyTorchProfiler: a run that is shorter than its schedule", "[unit][profilers]") {
  const Folder folder;
  const auto profile = [&](std::int64_t batches) {
    const auto profiler = std::make_shared<PyTorchProfiler>(PyTorchProfilerOptions{.dirpath = folder.path()});
    M model;
    Trainer trainer(quiet({.max_epochs = 1, .profiler = profiler}));
    const test::Heard heard;
    trainer.fit(model, boring_loader(batches));
    return std::pair(profiler->traces().size(), heard.text());
  };
  CHECK(profile(1).first == 0);
  CHECK_THAT(profile(1).second, Catch::Contains("no step was recorded"));
  CHECK(profile(4).first == 1);  // what there is
  CHECK_THROWS_WITH(
      PyTorchProfiler({.wait = -1, .active = 0, .sort_by_key = "speed"}),
      Catch::Contains("wait is -1") && Catch::Contains("active is 0") && Catch::Contains("\"speed\""));
}

TEST_CASE("PyTorchProfiler: a trace that cannot be written fails the run, with its path",
          "[unit][profilers]") {
  const Folder folder;
  std::ofstream(folder / "file") << "not a folder";
  M model;
  Trainer trainer(quiet({.max_epochs = 1,
                         .profiler = PyTorchProfiler(
                             {.dirpath = folder / "file/below", .wait = 0, .warmup = 0, .active = 1})}));
  const test::Heard heard;
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Catch::Contains("file/below/fit-0.0.pt.trace.json"));
}

}  // namespace profiler_test
