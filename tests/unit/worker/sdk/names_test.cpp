// Callbacks, loggers and profilers by name, from JSON.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/loggers.h>
#include <rtrain/names.h>

namespace names_test {

using namespace rtrain;
using rtrain::test::Folder;

namespace {

/// Every option of a class with the value that it has by default.
struct Row {
  const char* kind;
  nlohmann::json described;
};

void make(const Row& row) {
  if (row.kind == std::string("Callback"))
    (void)Names<Callback>::from_json(row.described);
  else if (row.kind == std::string("Logger"))
    (void)Names<Logger>::from_json(row.described);
  else
    (void)Names<Profiler>::from_json(row.described);
}

}  // namespace

TEST_CASE("names: every option of a class that comes with the SDK can be said in JSON", "[unit][names]") {
  const nlohmann::json folder{{"save_dir", "x"}, {"name", "n"}, {"version", "v"}, {"prefix", ""}};
  const auto with = [](nlohmann::json base, const nlohmann::json& more) { return base.update(more), base; };
  for (const auto& [kind, type, options] : std::vector<std::tuple<const char*, const char*, nlohmann::json>>{
           {"Callback",
            "EarlyStopping",
            {{"monitor", "val_loss"},
             {"min_delta", 0},
             {"patience", 3},
             {"verbose", false},
             {"mode", "min"},
             {"strict", true},
             {"check_finite", true},
             {"stopping_threshold", nullptr},
             {"divergence_threshold", 1.5},
             {"check_on_train_epoch_end", nullptr},
             {"name", ""}}},
           {"Callback",
            "ModelCheckpoint",
            {{"dirpath", "x"},
             {"filename", "{epoch}"},
             {"monitor", "val_loss"},
             {"mode", "max"},
             {"save_top_k", 2},
             {"save_last", true},
             {"save_weights_only", false},
             {"auto_insert_metric_name", true},
             {"every_n_train_steps", nullptr},
             {"every_n_epochs", 2},
             {"save_on_train_epoch_end", nullptr},
             {"enable_version_counter", true},
             {"name", "a"}}},
           {"Callback", "GradientAccumulationScheduler", {{"scheduling", {{"0", 8}, {"4", 4}}}}},
           {"Callback", "TrainReportCallback", nlohmann::json::object()},
           {"Callback",
            "BatchSizeFinder",
            {{"mode", "power"},
             {"steps_per_trial", 3},
             {"init_val", 2},
             {"max_trials", 25},
             {"margin", 0.05},
             {"max_val", 8192}}},
           {"Callback",
            "LearningRateFinder",
            {{"min_lr", 1e-8},
             {"max_lr", 1},
             {"num_training_steps", 100},
             {"mode", "exponential"},
             {"early_stop_threshold", 4},
             {"update_attr", true}}},
           {"Callback",
            "ThroughputMonitor",
            {{"window_size", 100}, {"separator", "/"}, {"flops_per_batch", 0}, {"available_flops", 0}}},
           {"Logger", "CSVLogger", with(folder, {{"flush_logs_every_n_steps", 5}})},
           {"Logger", "JSONLLogger", folder},
           {"Logger", "TensorBoardLogger", with(folder, {{"default_hp_metric", false}, {"sub_dir", "s"}})},
           {"Logger",
            "MLFlowLogger",
            {{"experiment_name", "e"},
             {"run_name", "r"},
             {"tracking_uri", "http://localhost:1"},
             {"tags", {{"a", "b"}}},
             {"prefix", ""},
             {"artifact_location", nullptr},
             {"run_id", "r"},
             {"spool_dir", ""},
             {"finalize_timeout_s", 0}}},
           {"Profiler", "simple", {{"dirpath", ""}, {"filename", ""}, {"extended", false}}},
           {"Profiler",
            "pytorch",
            {{"dirpath", ""},
             {"filename", ""},
             {"skip_first", 0},
             {"wait", 1},
             {"warmup", 1},
             {"active", 3},
             {"repeat", 0},
             {"record_shapes", true},
             {"profile_memory", false},
             {"with_stack", false},
             {"with_flops", false},
             {"export_to_chrome", false},
             {"row_limit", 20},
             {"sort_by_key", ""}}}}) {
    if (type == std::string("MLFlowLogger")) continue;  // it would start a thread
    INFO(type);
    CHECK_NOTHROW(
        make({kind, {{"class_path", std::string("lightning.pytorch.") + type}, {"init_args", options}}}));
    CHECK_THROWS_WITH(make({kind, {{"class_path", type}, {"init_args", {{"no_such_option", 1}}}}}),
                      Catch::Contains(std::string(type) + ": these options cannot be used:") &&
                          Catch::Contains("no_such_option: there is no such option"));
  }
}

TEST_CASE("names: options beside the name", "[unit][names]") {
  const Folder folder;
  const auto logger = Names<Logger>::from_json({{"name", "CSVLogger"}, {"save_dir", folder.path().string()}});
  CHECK(logger->log_dir() == folder / "lightning_logs/version_0");
  const nlohmann::json early{{"name", "EarlyStopping"}, {"monitor", "val_loss"}, {"patience", 5}};
  const AnyCallback callback = early;
  CHECK(callback.get()->state_key() == "EarlyStopping{monitor=val_loss, mode=min}");
  CHECK(Names<Callback>::from_json("TrainReportCallback") != nullptr);
  CHECK(callbacks_from({early, "TrainReportCallback"}).size() == 2);
  CHECK(callbacks_from(nullptr).empty());
}

TEST_CASE("names: what cannot be is told at once, with what is near", "[unit][names]") {
  CHECK_THROWS_WITH(
      Names<Logger>::from_json({{"name", "CSVLoger"}}),
      Catch::Contains(
          "Logger: there is no \"CSVLoger\"; the nearest is \"CSVLogger\"; there are \"CSVLogger\""));
  CHECK_THROWS_WITH(Names<Callback>::from_json(
                        {{"name", "EarlyStopping"}, {"monitr", "x"}, {"patience", 1.5}, {"verbose", 1}}),
                    Catch::Contains("monitr: there is no such option; the nearest is monitor") &&
                        Catch::Contains("patience: expected") && Catch::Contains("verbose: expected"));
  CHECK_THROWS_WITH(Names<Callback>::from_json({{"name", "TrainReportCallback"}, {"x", 1}}),
                    Catch::Contains("x: there is no such option; it has none"));
  CHECK_THROWS_WITH(Names<Logger>::from_json({{"save_dir", "x"}}), Catch::Contains("no key \"name\""));
  CHECK_THROWS_WITH(Names<Logger>::from_json({{"class_path", "CSVLogger"}, {"save_dir", "x"}}),
                    Catch::Contains("save_dir: beside class_path there is only init_args"));
  CHECK_THROWS_WITH(
      Names<Callback>::from_json({{"name", "GradientAccumulationScheduler"}, {"scheduling", {{"first", 2}}}}),
      Catch::Contains("the key \"first\" is not the number of an epoch"));
  CHECK_THROWS_WITH(loggers_from({{{"name", "A"}}, {{"name", "JSONLLogger"}, {"save_dir", 1}}}),
                    Catch::Contains("[0] Logger: there is no \"A\"") && Catch::Contains("[1] JSONLLogger"));
}

TEST_CASE("names: a user's own class with options", "[unit][names]") {
  struct Options {
    std::string path{};
    std::int64_t every = 2;
  };
  struct Mine : Logger {
    Options options;
    explicit Mine(Options given) : options(std::move(given)) {}
    void log_metrics(const std::map<std::string, double>&, std::int64_t) override {}
  };
  RTRAIN_REGISTER_OPTIONS(Logger, "names_test.Mine", Mine, Options, path, every);
  const auto made = Names<Logger>::from_json({{"name", "names_test.Mine"}, {"path", "a"}});
  const auto& mine = dynamic_cast<const Mine&>(*made);
  CHECK(mine.options.path == "a");
  CHECK(mine.options.every == 2);
}

}  // namespace names_test
