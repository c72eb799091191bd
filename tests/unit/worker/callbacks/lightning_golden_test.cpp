// Against what Lightning does (tests/golden/callbacks).
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace lightning_golden_test {

using namespace rtrain;
using rtrain::test::det;
using rtrain::test::quiet;

namespace {

/// The scripts' module: one linear layer of float64.
struct Lin : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
  Lin() {
    to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(det({1, 4}, 0));
    layer->bias.copy_(det({1}, 5));
  }
  virtual torch::Tensor loss_of(const Batch& batch) {
    return torch::nn::functional::mse_loss(layer(batch.input), batch.target);
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor validation_step(const Batch&, std::int64_t) override { return {}; }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
};

DataLoader golden_loader(std::int64_t samples) {
  return {data::TensorDataset(det({samples, 4}, 1), det({samples, 1}, 3)),
          {.batch_size = 4, .num_workers = 0}};
}

struct Scores : Lin {
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto loss = loss_of(batch);
    log("loss", loss);
    return loss;
  }
  torch::Tensor validation_step(const Batch&, std::int64_t) override {
    const double values[] = {3, 2, 2, std::nan(""), 1, 1, 5, 1};
    const auto value = values[std::min<std::int64_t>(current_epoch(), 7)];
    log("val/loss", value);
    log("v", value);
    return {};
  }
};

/// Remembers each checkpoint that it writes: "e0s3:epoch=0-step=3.ckpt".
struct Recording : ModelCheckpoint {
  using ModelCheckpoint::ModelCheckpoint;
  std::vector<std::string> saves;
  void write(Trainer& trainer, const std::filesystem::path& path) override {
    saves.push_back("e" + std::to_string(trainer.current_epoch()) + "s" +
                    std::to_string(trainer.global_step()) + ":" + path.filename().string());
    ModelCheckpoint::write(trainer, path);
  }
};

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "'" : ", '") + word + "'";
  return "[" + text + "]";
}

struct Scenario {
  std::string title;
  ModelCheckpointOptions options;
  TrainerOptions trainer{.max_epochs = 8};
  std::vector<std::string> existing{};
};

}  // namespace

TEST_CASE("ModelCheckpoint: saves, keeps and names what Lightning does", "[unit][callbacks]") {
  const std::vector<Scenario> scenarios{
      {"default", {}},
      {"monitor min top 1, ties", {.monitor = "v"}},
      {"top 2", {.monitor = "v", .save_top_k = 2}},
      {"top 3 max", {.monitor = "v", .mode = "max", .save_top_k = 3}},
      {"all", {.save_top_k = -1}},
      {"all monitor", {.monitor = "v", .save_top_k = -1}},
      {"none + last", {.save_top_k = 0, .save_last = true}},
      {"last", {.monitor = "v", .save_last = SaveLast::kCopy}},
      {"last link", {.monitor = "v", .save_last = SaveLast::kLink}},
      {"name with slash", {.filename = "{epoch}-{val/loss:.2f}", .monitor = "val/loss"}},
      {"no insert", {.filename = "e{epoch:03d}-{v:.3f}", .monitor = "v", .auto_insert_metric_name = false}},
      {"missing metric in the name", {.filename = "{nothere}-{step}"}},
      {"fixed name", {.filename = "model", .save_top_k = -1}},
      {"fixed name, no counter", {.filename = "model", .save_top_k = -1, .enable_version_counter = false}},
      {"existing files",
       {.save_top_k = -1, .save_last = SaveLast::kCopy},
       {.max_epochs = 1},
       {"epoch=0-step=3.ckpt", "last.ckpt"}},
      {"every 2 steps", {.save_top_k = -1, .every_n_train_steps = 2}, {.max_epochs = 3}},
      {"every 2 steps, last", {.save_last = SaveLast::kCopy, .every_n_train_steps = 2}, {.max_epochs = 3}},
      {"every 2 steps monitor val",
       {.monitor = "v", .save_top_k = -1, .every_n_train_steps = 2},
       {.max_epochs = 3}},
      {"every 3 epochs", {.save_top_k = -1, .every_n_epochs = 3}},
      {"every 2 steps, accumulate 2",
       {.save_top_k = -1, .every_n_train_steps = 2},
       {.max_epochs = 3, .accumulate_grad_batches = 2}},
      // Lightning's integer 1 is its 1.0 there; here it is a validation after every batch.
      {"val every batch", {.save_top_k = -1}, {.max_epochs = 1, .val_check_interval = 1}},
      {"missing monitor", {.monitor = "zzz"}, {.max_epochs = 1}},
      {"train epoch end false", {.save_top_k = -1, .save_on_train_epoch_end = false}, {.max_epochs = 2}},
      {"check val every 2",
       {.monitor = "v", .save_top_k = -1},
       {.max_epochs = 4, .check_val_every_n_epoch = 2}},
      {"max_steps inside an epoch", {.save_top_k = -1, .save_last = SaveLast::kCopy}, {.max_steps = 4}},
  };
  const auto golden = test::golden_sections("callbacks/model_checkpoint.txt");
  REQUIRE(golden.size() == scenarios.size());
  for (std::size_t i = 0; i < golden.size(); ++i) {
    const auto& scenario = scenarios[i];
    const auto& expected = golden[i];
    INFO(expected.title);
    REQUIRE(expected.title.starts_with(scenario.title + " {"));
    const test::Folder folder;
    auto options = scenario.options;
    options.dirpath = folder / "c";
    for (const auto& name : scenario.existing) std::filesystem::create_directories(folder / "c" / name / "x");
    const auto callback = std::make_shared<Recording>(options);
    auto trainer_options = scenario.trainer;
    trainer_options.callbacks = {callback};
    Trainer trainer(quiet(trainer_options));
    const test::Heard heard;
    std::string error;
    try {
      trainer.fit(Scores(), golden_loader(12), golden_loader(4));
    } catch (const std::exception& e) {
      error = e.what();
    }
    const auto state = expected.after("best=");
    CHECK(error.empty() == state.ends_with("error="));
    if (!error.empty()) {
      CHECK(error.find("\"zzz\"") != std::string::npos);
      continue;
    }
    const bool every_batch = scenario.title == "val every batch";
    const auto saves = every_batch ? "['e0s1:epoch=0-step=1.ckpt', 'e0s2:epoch=0-step=2.ckpt', "
                                     "'e0s3:epoch=0-step=3.ckpt']"
                                   : expected.after("saves: ");
    CHECK(listed(callback->saves) == saves);
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "c")) {
      const auto name = entry.path().filename().string();
      files.push_back(
          entry.is_symlink() ? name + " -> " + std::filesystem::read_symlink(entry.path()).string() : name);
    }
    std::sort(files.begin(), files.end());
    // Lightning leaves the folders that a name with a slash made.
    if (scenario.title == "name with slash")
      CHECK(listed(files) == "['epoch=4-val']");
    else if (!every_batch)
      CHECK(listed(files) == expected.after("files: "));
    const auto score = callback->best_model_score();
    CHECK(state.starts_with(callback->best_model_path().filename().string() + " score="));
    CHECK((state.find(" score=None ") != std::string::npos) == !score);
    if (score) CHECK(state.find(" score=" + std::to_string(*score).substr(0, 3) + " ") != std::string::npos);
    CHECK(state.find(" kth=" + callback->kth_best_model_path().filename().string() + " ") !=
          std::string::npos);
    CHECK(state.find(" last=" + callback->last_model_path().filename().string() + " ") != std::string::npos);
  }
}

TEST_CASE("EarlyStopping: stops where Lightning does, for its reason", "[unit][callbacks]") {
  struct Row {
    EarlyStoppingOptions options;
    std::vector<double> values;
  };
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  const std::vector<Row> rows{
      {{}, {3, 2, 2, 2, 2, 1}},
      {{.min_delta = 0.1, .patience = 2}, {3, 2.95, 2.9, 2.89, 2.8}},
      {{.min_delta = 0.5, .patience = 1}, {1, 0.5, 0}},
      {{.patience = 3, .mode = "max"}, {1, 2, 1.5, 1, 0}},
      {{}, {1, nan}},
      {{.patience = 2, .check_finite = false}, {1, nan, nan, 0.5}},
      {{}, {inf}},
      {{.stopping_threshold = 0.5}, {1, 0.5, 0.4}},
      {{.divergence_threshold = 2.0}, {1, 2, 2.1}},
      {{.mode = "max", .divergence_threshold = 0.15}, {1, 0.2, 0.1}},
      {{.patience = 0}, {1, 1}},
      {{.patience = 1}, {1, 1}},
  };
  const auto golden = test::golden_lines("callbacks/early_stopping.txt");
  REQUIRE(golden.size() == rows.size());
  const std::vector<std::string> names{"NOT_STOPPED", "STOPPING_THRESHOLD", "DIVERGENCE_THRESHOLD",
                                       "PATIENCE_EXHAUSTED", "NON_FINITE_METRIC"};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    INFO(golden[i]);
    struct Series : Lin {
      std::vector<double> values;
      explicit Series(std::vector<double> v) : values(std::move(v)) {}
      torch::Tensor validation_step(const Batch&, std::int64_t) override {
        log("v", values.at(static_cast<std::size_t>(current_epoch())));
        return {};
      }
    };
    auto options = rows[i].options;
    options.monitor = "v";
    const auto callback = std::make_shared<EarlyStopping>(options);
    Trainer trainer(quiet({.max_epochs = static_cast<std::int64_t>(rows[i].values.size()),
                           .num_sanity_val_steps = 0,
                           .callbacks = {callback}}));
    trainer.fit(Series(rows[i].values), golden_loader(4), golden_loader(4));
    // The last tuple: (value, True, wait_count, best_score, 'REASON').
    const auto last = golden[i].substr(golden[i].rfind('('));
    const auto checks = std::count(golden[i].begin(), golden[i].end(), '(');
    CHECK(trainer.current_epoch() == checks);
    CHECK(last.find("'" + names.at(static_cast<std::size_t>(callback->stopping_reason())) + "'") !=
          std::string::npos);
    CHECK(last.find("True, " + std::to_string(callback->wait_count()) + ", ") != std::string::npos);
    CHECK_FALSE(callback->stopping_reason_message().empty());
  }
}

namespace {

std::vector<double> values_of(const std::vector<torch::Tensor>& tensors) {
  std::vector<double> values;
  for (const auto& tensor : tensors) {
    const auto flat = tensor.detach().to(torch::kDouble).flatten().contiguous();
    values.insert(values.end(), flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
  }
  return values;
}

/// Remembers its weights in each validation and at the end of each epoch, as the script's module does.
struct Watched : Lin {
  std::vector<std::pair<std::string, std::vector<double>>> lines;
  torch::Tensor validation_step(const Batch&, std::int64_t) override {
    lines.emplace_back("validation " + std::to_string(current_epoch()), values_of(parameters()));
    return {};
  }
  void on_train_epoch_end() override {
    lines.emplace_back("epoch " + std::to_string(current_epoch()), values_of(parameters()));
  }
};
struct WithNorm : Watched {
  torch::nn::BatchNorm1d bn = register_module("bn", torch::nn::BatchNorm1d(4));
  WithNorm() {
    bn->to(torch::kDouble);
    // LibTorch's to() converts counts, too; Python's does not.
    bn->num_batches_tracked.set_data(bn->num_batches_tracked.to(torch::kLong));
  }
  torch::Tensor loss_of(const Batch& batch) override {
    return torch::nn::functional::mse_loss(layer(bn(batch.input)), batch.target);
  }
};

void check_near(const std::vector<double>& given, const std::vector<double>& expected) {
  REQUIRE(given.size() == expected.size());
  for (std::size_t i = 0; i < given.size(); ++i)
    CHECK(given[i] == Approx(expected[i]).epsilon(1e-10).margin(1e-14));
}

void check_averaging(const std::string& title, Watched& module, TrainerOptions options) {
  const auto sections = test::golden_sections("callbacks/averaging.txt");
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.title == title; });
  REQUIRE(found != sections.end());
  INFO(title);
  if (!options.max_epochs) options.max_epochs = 4;
  options.num_sanity_val_steps = 0;
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(module, golden_loader(12), golden_loader(4));
  for (const auto& [key, values] : module.lines) {
    INFO(key);
    auto expected = test::golden_numbers(found->after(key + (key[0] == 'e' ? " lr " : " ")));
    if (key[0] == 'e') expected.erase(expected.begin());  // the learning rate
    check_near(values, expected);
  }
  check_near(values_of(module.parameters()), test::golden_numbers(found->after("end ")));
  if (!module.buffers().empty())
    check_near(values_of(module.buffers()), test::golden_numbers(found->after("buffers ")));
}

}  // namespace

TEST_CASE("WeightAveraging: Lightning's weights in each validation and at the end", "[unit][callbacks]") {
  Watched every, some, epochs, accumulated, mean;
  WithNorm norm;
  check_averaging("ema .9", every, {.callbacks = {EMAWeightAveraging({.decay = 0.9})}});
  check_averaging("ema .9 every 2 from 3", some,
                  {.callbacks = {EMAWeightAveraging(
                       {.decay = 0.9, .update_every_n_steps = 2, .update_starting_at_step = 3})}});
  check_averaging("ema .9 from epoch 1", epochs,
                  {.callbacks = {EMAWeightAveraging(
                       {.decay = 0.9, .update_starting_at_step = 1000, .update_starting_at_epoch = 1})}});
  check_averaging("ema .9 batch norm", norm, {.callbacks = {EMAWeightAveraging({.decay = 0.9})}});
  check_averaging("ema .9 accumulate 2", accumulated,
                  {.accumulate_grad_batches = 2, .callbacks = {EMAWeightAveraging({.decay = 0.9})}});
  check_averaging("mean of all", mean, {.callbacks = {WeightAveraging()}});
}

TEST_CASE("WeightAveraging: a checkpoint has the averages as its model, and a resumed fit has the same bits",
          "[unit][callbacks]") {
  const test::Folder folder;
  const auto options = [&](std::int64_t epochs, const std::string& name) {
    return quiet({.max_epochs = epochs,
                  .num_sanity_val_steps = 0,
                  .callbacks = {EMAWeightAveraging({.decay = 0.9}),
                                ModelCheckpoint({.dirpath = folder / name, .filename = "{epoch}"})}});
  };
  Watched whole, part, rest;
  Trainer at_once(options(4, "whole"));
  at_once.fit(whole, golden_loader(12), golden_loader(4));
  Trainer first(options(2, "part"));
  first.fit(part, golden_loader(12), golden_loader(4));
  Trainer second(options(4, "rest"));
  second.fit(rest, golden_loader(12), golden_loader(4), folder / "part/epoch=1.ckpt");
  CHECK(values_of(rest.parameters()) == values_of(whole.parameters()));
  // The first fit ended with its averages: so does the checkpoint's model.
  const auto saved = load_safetensors(folder / "part/epoch=1.ckpt/model.safetensors").tensors;
  CHECK(torch::equal(saved.at("layer.weight"), part.layer->weight));
  CHECK_THROWS_WITH(EMAWeightAveraging({.decay = 2}), Catch::Contains("decay is 2"));
}

TEST_CASE("StochasticWeightAveraging: Lightning's weights, and batch norm from one more pass",
          "[unit][callbacks]") {
  struct Stepped : Watched {
    Optimizers configure_optimizers() override {
      auto sgd = optim::SGD(parameters(), {.lr = 0.1});
      return {sgd, lr::StepLR(sgd, {.step_size = 1, .gamma = 0.5})};
    }
  };
  Watched plain;
  Stepped stepped;
  WithNorm norm;
  check_averaging("swa .05 from 2", plain,
                  {.callbacks = {StochasticWeightAveraging(
                       {.swa_lrs = {0.05}, .swa_epoch_start = 2, .annealing_epochs = 2})}});
  check_averaging("swa linear, half", stepped,
                  {.max_epochs = 6,
                   .callbacks = {StochasticWeightAveraging({.swa_lrs = {0.05},
                                                            .swa_epoch_start = 0.5,
                                                            .annealing_epochs = 3,
                                                            .annealing_strategy = lr::Anneal::kLinear})}});
  check_averaging("swa batch norm", norm,
                  {.callbacks = {StochasticWeightAveraging(
                       {.swa_lrs = {0.05}, .swa_epoch_start = 2, .annealing_epochs = 2})}});
  CHECK_THROWS_WITH(StochasticWeightAveraging({.swa_epoch_start = 0}),
                    Catch::Contains("swa_lrs") && Catch::Contains("swa_epoch_start is 0"));
}

namespace {

struct WithBackbone : Lin {
  torch::nn::Sequential backbone =
      register_module("backbone", torch::nn::Sequential(torch::nn::Linear(4, 4), torch::nn::BatchNorm1d(4)));
  std::vector<std::string> lines;
  WithBackbone() {
    to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    auto& first = *backbone->ptr<torch::nn::LinearImpl>(0);
    first.weight.copy_(det({4, 4}, 7));
    first.bias.copy_(det({4}, 9));
  }
  torch::Tensor loss_of(const Batch& batch) override {
    return torch::nn::functional::mse_loss(layer(backbone->forward(batch.input)), batch.target);
  }
  Optimizers configure_optimizers() override {
    std::vector<torch::Tensor> trained;
    for (const auto& parameter : parameters())
      if (parameter.requires_grad()) trained.push_back(parameter);
    return optim::SGD(trained, {.lr = 0.1});
  }
};

}  // namespace

TEST_CASE("BackboneFinetuning: Lightning's learning rates and weights, also resumed", "[unit][callbacks]") {
  const auto golden = test::golden_sections("callbacks/averaging.txt");
  const auto run = [&](const std::string& title, const BackboneFinetuningOptions& options,
                       std::int64_t epochs) {
    const auto found =
        std::find_if(golden.begin(), golden.end(), [&](const auto& s) { return s.title == title; });
    REQUIRE(found != golden.end());
    INFO(title);
    WithBackbone module;
    std::vector<std::vector<double>> rates;
    Trainer trainer(
        quiet({.max_epochs = epochs,
               .callbacks = {BackboneFinetuning(options),
                             LambdaCallback({.on_train_batch_start = [&](Trainer& t, LightningModule&,
                                                                         const Batch&, std::int64_t index) {
                               if (index > 0) return;
                               rates.emplace_back();
                               for (const auto& group : t.optimizers()[0]->groups())
                                 rates.back().push_back(group.options.at("lr"));
                             }})}}));
    trainer.fit(module, golden_loader(12));
    for (std::size_t epoch = 0; epoch < rates.size(); ++epoch) {
      const auto text = found->after("epoch " + std::to_string(epoch) + " lr [");
      check_near(rates[epoch], test::golden_numbers(text.substr(0, text.find(']'))));
    }
    check_near(values_of(module.parameters()), test::golden_numbers(found->after("end ")));
  };
  run("backbone at 2", {.unfreeze_backbone_at_epoch = 2}, 6);
  run("backbone at 1, ratio .5, no bn",
      {.unfreeze_backbone_at_epoch = 1,
       .lambda_func = [](std::int64_t) { return 1.5; },
       .backbone_initial_ratio_lr = 0.5,
       .train_bn = false},
      6);
  run("backbone at 1, lr .01, no align",
      {.unfreeze_backbone_at_epoch = 1, .backbone_initial_lr = 0.01, .should_align = false}, 7);

  const test::Folder folder;
  const auto options = [&](std::int64_t epochs) {
    return quiet({.max_epochs = epochs,
                  .callbacks = {BackboneFinetuning({.unfreeze_backbone_at_epoch = 1}),
                                ModelCheckpoint({.dirpath = folder.path(), .filename = "{epoch}"})}});
  };
  WithBackbone whole, part, rest;
  Trainer at_once(options(5)), first(options(3)), second(options(5));
  at_once.fit(whole, golden_loader(12));
  first.fit(part, golden_loader(12));
  second.fit(rest, golden_loader(12), {}, folder / "epoch=2.ckpt");
  CHECK(values_of(rest.parameters()) == values_of(whole.parameters()));
  test::BoringModel none;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {BackboneFinetuning()}}));
  CHECK_THROWS_WITH(trainer.fit(none, test::boring_loader(2)),
                    Catch::Contains("no child called \"backbone\""));
}

}  // namespace lightning_golden_test
