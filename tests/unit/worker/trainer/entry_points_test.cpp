// validate() and test() without a module, their tables and lists; predictions; options from JSON.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include "worker/trainer/evaluation_table.h"
#include "worker/trainer/options_table.h"

#include <rtrain/callbacks.h>

#include <fstream>
#include <regex>

namespace entry_points_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::Folder;
using rtrain::test::Heard;
using rtrain::test::quiet;

namespace {

struct Tested : BoringModel {
  std::vector<float> weights;
  torch::Tensor test_step(const Batch&, std::int64_t) override {
    weights.push_back(layer->weight[0][0].item<float>());
    log("t", 2.0);
    return {};
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("v", static_cast<double>(batch.size()));
    return {};
  }
};

}  // namespace

TEST_CASE("test() without a module: the latest one with its best checkpoint", "[trainer]") {
  const Folder folder;
  Tested net;
  const auto best = std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{.dirpath = folder / "c"});
  Trainer trainer(quiet({.max_epochs = 2, .callbacks = {best}}));
  CHECK_THROWS_WITH(trainer.test(), Contains("test() without a module: no run before left one"));
  trainer.fit(net, boring_loader(4));
  const auto trained = net.layer->weight[0][0].item<float>();
  {
    const torch::NoGradGuard no_grad;
    net.layer->weight.zero_();
  }
  const Heard heard;
  const auto found = trainer.test({.dataloaders = boring_loader(2), .verbose = false});
  CHECK(found == Metrics{{"t", 2}});
  CHECK(found.by_loader == std::vector<Metrics>{{{"t", 2}}});
  CHECK(net.weights.back() == trained);
  CHECK_THAT(heard.text(), Contains("uses the best checkpoint of the latest fit"));
  // With the module the weights stay as they are.
  {
    const torch::NoGradGuard no_grad;
    net.layer->weight.zero_();
  }
  (void)trainer.test(net, boring_loader(2), {}, /*verbose=*/false);
  CHECK(net.weights.back() == 0);
  (void)trainer.test(
      {.dataloaders = boring_loader(2), .ckpt_path = best->best_model_path(), .verbose = false});
  CHECK(net.weights.back() == trained);
}

TEST_CASE("validate() without a module needs a best checkpoint", "[trainer]") {
  Tested net;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(net, boring_loader(4));
  CHECK_THROWS_WITH(trainer.validate({.dataloaders = boring_loader(2)}), Contains("no ModelCheckpoint"));
}

TEST_CASE("validate(): a table of the metrics, a column a loader", "[trainer]") {
  CHECK(evaluation_table("Test", {}).empty());
  CHECK(evaluation_table("Test", {{}}).empty());
  CHECK(evaluation_table("Test", {{{"acc", 0.5}, {"loss", 1234567}}}) ==
        "--------------------------\n"
        "Test metric | DataLoader 0\n"
        "--------------------------\n"
        "acc         | 0.5\n"
        "loss        | 1.23457e+06\n"
        "--------------------------");
  CHECK_THAT(
      evaluation_table("Validate", {{{"v/dataloader_idx_0", 1}, {"all", 3}}, {{"v/dataloader_idx_1", 2}}}),
      Contains("Validate metric | DataLoader 0 | DataLoader 1") &&
          Contains("v               | 1            | 2") && Contains("all             | 3\n"));
  Tested net;
  Trainer trainer(quiet({}));
  std::ostringstream text;
  auto* const before = std::cout.rdbuf(text.rdbuf());
  const auto found =
      trainer.validate(net, CombinedLoader({boring_loader(2, 1), boring_loader(2, 2)}, "sequential"));
  (void)trainer.validate(net, boring_loader(2), {}, /*verbose=*/false);
  std::cout.rdbuf(before);
  const auto printed = text.str();
  CHECK_THAT(printed, Contains("v               | 1            | 2"));
  CHECK(std::count(printed.begin(), printed.end(), '\n') == 5);
  CHECK(found.by_loader == std::vector<Metrics>{{{"v/dataloader_idx_0", 1}}, {{"v/dataloader_idx_1", 2}}});
}

TEST_CASE("predict(): nothing is kept where nobody wants it", "[trainer]") {
  BoringModel net;
  Trainer trainer(quiet({}));
  CHECK(trainer.predict(net, boring_loader(3)).size() == 3);
  CHECK(trainer.predict(net, boring_loader(3), {}, {.return_predictions = false}).empty());
  CHECK(trainer.predict(net, boring_loader(3)).front().is_cpu());
}

TEST_CASE("TrainerOptions::from_json: every option by its name", "[trainer][options]") {
  // The table has all fields of the header, in its order.
  std::ifstream header(RTRAIN_SOURCE_DIR "/worker/include/rtrain/trainer.h");
  std::ostringstream all;
  all << header.rdbuf();
  auto text = all.str();
  text = text.substr(text.find("struct RTRAIN_API TrainerOptions {"));
  text = text.substr(0, text.find("from_json"));
  const std::regex field(R"re(\n  [A-Za-z_:<>0-9]+ ([a-z_]+)(\{\}| = [^;]+);)re");
  std::vector<std::string> names, table;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), field); it != std::sregex_iterator(); ++it)
    names.push_back((*it)[1].str());
  for (const auto& one : option_fields()) table.emplace_back(one.name);
  CHECK(table == names);
}

TEST_CASE("TrainerOptions::from_json: values", "[trainer][options]") {
  const auto options = TrainerOptions::from_json(
      {{"max_epochs", 3},
       {"max_time", "90m"},
       {"limit_val_batches", 0.5},
       {"limit_train_batches", 10},
       {"check_val_every_n_epoch", nullptr},
       {"gradient_clip_val", 1},
       {"precision", "bf16-mixed"},
       {"deterministic", "warn"},
       {"devices", 1},
       {"strategy", "ddp"},
       {"callbacks", {"TrainReportCallback", {{"name", "BatchSizeFinder"}, {"max_val", 64}}}},
       {"loggers", {{{"name", "CSVLogger"}, {"save_dir", "x"}}}},
       {"default_root_dir", "here"},
       {"seed", 7},
       {"profiler", "simple"},
       {"cuda_graph", true}});
  CHECK(options.max_epochs == 3);
  CHECK(options.max_time->seconds() == 5400);
  CHECK(options.limit_val_batches.fraction() == 0.5);
  CHECK(options.limit_train_batches.batches() == 10);
  CHECK_FALSE(options.check_val_every_n_epoch);
  CHECK(options.gradient_clip_val == 1.0);
  CHECK(options.precision.name() == "bf16-mixed");
  CHECK(options.deterministic->only_warns());
  CHECK(options.strategy.name() == "ddp");
  CHECK(options.loggers.size() == 1);
  CHECK(options.seed == 7);
  CHECK(options.profiler.name() == "simple");
  CHECK(options.cuda_graph);
  CHECK(TrainerOptions::from_json(nullptr).max_steps == -1);
}

TEST_CASE("TrainerOptions::from_json: what cannot be used is told at once", "[trainer][options]") {
  std::string text;
  try {
    (void)TrainerOptions::from_json({{"max_epoch", 3},
                                     {"max_steps", 1.5},
                                     {"logger", true},
                                     {"limit_val_batches", "all"},
                                     {"callbacks", {"EarlyStoping"}},
                                     {"plugins", {"x"}}});
  } catch (const std::invalid_argument& error) {
    text = error.what();
  }
  CHECK_THAT(text, Contains("max_epoch: there is no such option; the nearest is max_epochs"));
  CHECK_THAT(text, Contains("max_steps: "));
  CHECK_THAT(text, Contains("logger: there is no such option; it is called loggers"));
  CHECK_THAT(text, Contains("limit_val_batches: expected a number of batches"));
  CHECK_THAT(text, Contains("EarlyStopping"));
  CHECK_THAT(text, Contains("plugins: expected no plugins"));
  CHECK_THROWS_WITH(TrainerOptions::from_json({1, 2}), Contains("expected an object"));
}

}  // namespace entry_points_test
