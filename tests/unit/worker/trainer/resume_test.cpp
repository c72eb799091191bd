// A run resumed from the checkpoint of step k gives the bits of a run that never ended.
#include "tests/support/catch.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace trainer_resume_test {

using namespace rtrain;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::State;
using rtrain::test::state_of;

namespace {

/// Everything that a place in training consists of: dropout draws numbers, batch norm counts, Adam remembers.
struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(8, 16));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(16));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.3));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(16, 3));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto loss = torch::nn::functional::cross_entropy(second(dropout(torch::relu(norm(first(batch.input))))),
                                                     batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
    log("batches", 1.0, {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum});
    return loss;
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("noise", torch::rand({}));  // draws, too: a validation that is missed or repeated would show
    return second(first(batch.input));
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

DataLoader data_of(std::int64_t samples, bool shuffle) {
  torch::manual_seed(11);
  return {data::TensorDataset(torch::randn({samples, 8}), torch::randint(3, {samples})),
          {.batch_size = 4, .shuffle = shuffle, .seed = 3}};
}

struct Run {
  State end;
  Metrics metrics;
  std::int64_t steps = 0, epochs = 0;
};

/// @param save_in, at_step: where a checkpoint is written; the run goes on.
Run run(const TrainerOptions& given, std::uint64_t seed, const CheckpointPath& from = {},
        const std::filesystem::path& save_to = {}, const std::string& save_in = "", std::int64_t at_step = 0,
        bool with_validation = true) {
  auto train = data_of(22, true), val = data_of(8, false);
  torch::manual_seed(seed);
  Net net;
  auto options = given;
  const auto save = [&](const std::string& hook) {
    return [&, hook](Trainer& trainer, LightningModule&) {
      if (hook == save_in && trainer.global_step() == at_step && !trainer.sanity_checking())
        trainer.save_checkpoint(save_to);
    };
  };
  options.callbacks.push_back(
      LambdaCallback({.on_train_batch_end = [&](Trainer& t, LightningModule& m, const StepOutput&,
                                                const Batch&, std::int64_t) { save("batch_end")(t, m); },
                      .on_validation_end = save("validation_end"),
                      .on_train_epoch_end = save("epoch_end")}));
  Trainer trainer(quiet(options));
  trainer.fit(net, train, with_validation ? val : DataLoader(), from);
  if (save_in == "after_fit") trainer.save_checkpoint(save_to);
  return {state_of(net), trainer.callback_metrics(), trainer.global_step(), trainer.current_epoch()};
}

}  // namespace

TEST_CASE("resume: from any step, the parameters are those of the run that never ended", "[unit][trainer]") {
  const TrainerOptions options{.max_epochs = 3, .val_check_interval = 2, .num_sanity_val_steps = 1};
  const auto whole = run(options, 1);
  REQUIRE(whole.steps == 18);
  CHECK_FALSE(same_bits(whole.end, run(options, 2).end));
  struct Place {
    const char* hook;
    std::int64_t step;
  };
  // In the middle of an epoch, with and without a validation due; its last batch; after it; the last step of
  // all.
  for (const auto& [hook, step] : std::vector<Place>{{"batch_end", 1},
                                                     {"batch_end", 2},
                                                     {"batch_end", 5},
                                                     {"batch_end", 6},
                                                     {"batch_end", 9},
                                                     {"batch_end", 17},
                                                     {"validation_end", 4},
                                                     {"validation_end", 12},
                                                     {"epoch_end", 6},
                                                     {"epoch_end", 12}}) {
    INFO(hook << " at step " << step);
    const test::Folder folder;
    const auto saving = run(options, 1, {}, folder / "c", hook, step);
    CHECK(same_bits(whole.end, saving.end));
    // Another seed, as another process would have: all that counts comes from the checkpoint.
    const auto resumed = run(options, 99, folder / "c");
    CHECK(same_bits(whole.end, resumed.end));
    CHECK(resumed.steps == whole.steps);
    CHECK(resumed.epochs == whole.epochs);
    CHECK(resumed.metrics == whole.metrics);
  }
}

TEST_CASE("resume: within an accumulation, the gradients so far come along", "[unit][trainer]") {
  const TrainerOptions options{.max_epochs = 2, .accumulate_grad_batches = 4};
  const auto whole = run(options, 1, {}, {}, "", 0, false);
  const test::Folder folder;
  // The end of a batch at global step 1 comes for the batches 4 and 5 of 6: the later one is kept, one batch
  // into an accumulation.
  const auto saving = run(options, 1, {}, folder / "c", "batch_end", 1, false);
  CHECK(same_bits(whole.end, saving.end));
  const auto resumed = run(options, 5, folder / "c", {}, "", 0, false);
  CHECK(same_bits(whole.end, resumed.end));
}

TEST_CASE("resume: from an epoch that max_steps or should_stop had cut short, the rest of it follows",
          "[unit][trainer][F38]") {
  for (const auto& [accumulate, validation, interval] :
       std::vector<std::tuple<std::int64_t, bool, std::int64_t>>{
           {1, true, 2}, {1, true, 4}, {4, true, 6}, {4, false, 6}}) {
    const TrainerOptions options{.max_epochs = 3,
                                 .val_check_interval = interval,
                                 .num_sanity_val_steps = 1,
                                 .accumulate_grad_batches = accumulate};
    const auto whole = run(options, 1, {}, {}, "", 0, validation);
    const auto check = [&](const TrainerOptions& shorter, const std::string& where, std::int64_t step) {
      INFO("accumulate " << accumulate << " interval " << interval << " saved " << where << " at step "
                         << step);
      const test::Folder folder;
      const auto cut = run(shorter, 1, {}, folder / "c", where, step, validation);
      REQUIRE(std::filesystem::exists(folder / "c"));
      const auto resumed = run(options, 99, folder / "c", {}, "", 0, validation);
      CHECK(same_bits(whole.end, resumed.end));
      CHECK(resumed.steps == whole.steps);
      CHECK(resumed.epochs == whole.epochs);
      CHECK(resumed.metrics == whole.metrics);
      // A run that is allowed no more stays where it was, and what it saves is the same again.
      auto same = shorter;
      same.callbacks.clear();
      if (shorter.max_steps == -1) return;
      const auto again = run(same, 99, folder / "c", folder / "d", "after_fit", 0, validation);
      CHECK(same_bits(cut.end, again.end));
      CHECK(again.epochs == cut.epochs);
      CHECK(same_bits(whole.end, run(options, 98, folder / "d", {}, "", 0, validation).end));
    };
    for (const std::int64_t step : {1, 2, 3, 5}) {
      auto limited = options;
      limited.max_steps = step;
      for (const auto* where : {"epoch_end", "after_fit"}) check(limited, where, step);
    }
    for (const std::int64_t batch : {1, 3, 4, 8}) {
      auto stopped = options;
      std::int64_t done = 0;
      stopped.callbacks.push_back(
          LambdaCallback({.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                    const Batch&, std::int64_t) {
            if (++done == batch) t.set_should_stop();
          }}));
      check(stopped, "after_fit", 0);
    }
  }
}

TEST_CASE("resume: a checkpoint of version 1 goes on as before", "[unit][trainer]") {
  const TrainerOptions options{.max_epochs = 2, .val_check_interval = 2, .num_sanity_val_steps = 1};
  const auto whole = run(options, 1);
  const test::Folder folder;
  (void)run(options, 1, {}, folder / "c", "batch_end", 3);
  // As version 1 wrote it: no should_stop, metrics or writer, the sums of metrics under the number of their
  // hook, the optimizer's state under the numbers of its parameters.
  nlohmann::json loop;
  std::ifstream(folder / "c/loop.json") >> loop;
  CHECK(loop.at("version") == 3);
  loop["version"] = 1;
  CHECK(std::filesystem::remove(folder / "c/checksums.json"));  // came later
  const auto group = loop.at("optimizers").at(0).at("groups").at(0);
  SafeTensors numbered{{{"lr", torch::scalar_tensor(group.at("lr").get<double>(), torch::kDouble)}}, {}};
  const auto named = load_safetensors(folder / "c/optimizer.safetensors").tensors;
  for (std::size_t i = 0; i < group.at("parameters").size(); ++i) {
    const auto prefix = "0." + group["parameters"][i].get<std::string>() + ".";
    for (const auto* name : {"step", "exp_avg", "exp_avg_sq"})
      numbered.tensors.emplace(std::to_string(i) + "." + name, named.at(prefix + name));
  }
  CHECK(numbered.tensors.size() == named.size() + 1);
  save_safetensors(folder / "c/optimizer.safetensors", numbered);
  loop.erase("optimizers");
  for (const auto* key : {"metrics", "writer"}) CHECK(loop.erase(key) == 1);
  for (const auto* key : {"should_stop", "max_epochs", "max_steps", "cut"})
    CHECK(loop.at("progress").erase(key) == 1);
  std::ofstream(folder / "c/loop.json") << loop;
  auto rank = load_safetensors(folder / "c/rng-rank0.safetensors");
  for (const auto* name : {"loss", "batches"}) {
    auto sums = rank.tensors.extract(std::string("metric.training_step.") + name);
    REQUIRE(sums);
    sums.key() = std::string("metric.7.") + name;
    rank.tensors.insert(std::move(sums));
  }
  save_safetensors(folder / "c/rng-rank0.safetensors", rank);
  const auto resumed = run(options, 99, folder / "c");
  CHECK(same_bits(whole.end, resumed.end));
  CHECK(resumed.metrics == whole.metrics);
}

TEST_CASE("checkpoint: a file that was changed, cut or lost is named and not trained on", "[unit][trainer]") {
  const test::Folder folder;
  (void)run({.max_epochs = 1}, 1, {}, folder / "c", "batch_end", 3);
  const auto resumed = [&] { return run({.max_epochs = 1}, 1, folder / "c").steps; };
  CHECK(resumed() > 0);
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "rng-rank0.safetensors", "loop.json"}) {
    INFO(name);
    const auto path = folder / "c" / name, whole = folder / "whole";
    std::filesystem::copy_file(path, whole);
    const auto named = Catch::Contains(path.string());
    {  // one bit
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(-2, std::ios::end);
      const auto byte = static_cast<char>(file.get());
      file.seekp(-2, std::ios::end);
      file.put(static_cast<char>(byte ^ 1));
    }
    CHECK_THROWS_WITH(resumed(), named && Catch::Contains("is damaged: it was changed: CRC-32C"));
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    CHECK_THROWS_WITH(resumed(), named && Catch::Contains("bytes, checksums.json says"));
    std::filesystem::remove(path);
    if (std::string(name) == "model.safetensors")
      CHECK_THROWS_WITH(resumed(), Catch::Contains("holds neither model.safetensors"));
    else
      CHECK_THROWS_WITH(resumed(), named && Catch::Contains("is missing"));
    std::filesystem::rename(whole, path);
    CHECK(resumed() > 0);
  }
  std::ofstream(folder / "c/checksums.json") << "{";
  CHECK_THROWS_WITH(resumed(), Catch::Contains((folder / "c/checksums.json").string()));
  // What is there without a list, as from an older version or changed on purpose, is taken as it is.
  std::filesystem::remove(folder / "c/checksums.json");
  CHECK(resumed() > 0);
}

TEST_CASE("checkpoint: what is not a checkpoint, and what lies beside one, is left alone",
          "[unit][trainer][F02]") {
  const test::Folder folder;
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, test::boring_loader(2));
  for (const auto* name : {"c.old", "c.partial", "data"}) {
    std::filesystem::create_directories(folder / name);
    std::ofstream(folder / name / "mine") << "kept";
  }
  for (int i = 0; i < 2; ++i) trainer.save_checkpoint(folder / "c");
  CHECK_THROWS_WITH(trainer.save_checkpoint(folder / "data"),
                    Catch::Contains("the path exists and is not a checkpoint"));
  for (const auto* name : {"c.old", "c.partial", "data"})
    CHECK(std::filesystem::exists(folder / name / "mine"));
}

TEST_CASE("resume: more epochs after the end continue the run", "[unit][trainer]") {
  const test::Folder folder;
  const auto whole = run({.max_epochs = 4}, 1);
  (void)run({.max_epochs = 2}, 1, {}, folder / "c", "epoch_end", 12);
  CHECK(same_bits(whole.end, run({.max_epochs = 4}, 7, folder / "c").end));
}

TEST_CASE("resume: a learning rate that on_train_start sets wins over that of the checkpoint",
          "[unit][trainer]") {
  struct Rated : Net {
    double rate = 0;  ///< 0: that of the checkpoint
    std::set<double> seen;
    void on_train_start() override {
      if (rate > 0) optimizer().optimizer().set_lr(rate);
    }
    StepOutput training_step(const Batch& batch, std::int64_t number) override {
      seen.insert(optimizer().optimizer().lr());
      return Net::training_step(batch, number);
    }
    Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.25}); }
  };
  const test::Folder folder;
  (void)run({.max_epochs = 1}, 1, {}, folder / "c", "after_fit");
  const auto rates_of_member = [&](double rate) {
    auto train = data_of(22, true);
    Rated member;
    member.rate = rate;
    Trainer(quiet({.max_epochs = 2})).fit(member, train, DataLoader(), folder / "c");
    return member.seen;
  };
  CHECK(rates_of_member(0) == std::set<double>{0.01});
  CHECK(rates_of_member(0.5) == std::set<double>{0.5});
}

TEST_CASE(
    "checkpoint: a folder with PyTorch's names, found inside a reported checkpoint, replaced as a whole",
    "[unit][trainer]") {
  const test::Folder folder;
  (void)run({.max_epochs = 1}, 1, {}, folder / "reported/checkpoint.ckpt", "batch_end", 3);
  (void)run({.max_epochs = 1}, 1, {}, folder / "reported/checkpoint.ckpt", "batch_end", 4);
  const auto content = load_safetensors(folder / "reported/checkpoint.ckpt/model.safetensors");
  std::set<std::string> names;
  for (const auto& [name, tensor] : content.tensors) names.insert(name);
  CHECK(names == std::set<std::string>{"first.weight", "first.bias", "norm.weight", "norm.bias",
                                       "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
                                       "second.weight", "second.bias"});
  CHECK(content.tensors.at("norm.num_batches_tracked").item<std::int64_t>() == 4);
  CHECK(load_safetensors(folder / "reported/checkpoint.ckpt/optimizer.safetensors")
            .tensors.contains("0.first.weight.exp_avg"));
  CHECK(load_safetensors(folder / "reported/checkpoint.ckpt/rng-rank0.safetensors")
            .tensors.contains("rng.cpu"));
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "reported"), {}) == 1);
  CHECK(run({.max_epochs = 2}, 1, Checkpoint(folder / "reported")).steps == 12);
}

TEST_CASE("checkpoint: what does not fit or is not there is named", "[unit][trainer]") {
  const test::Folder folder;
  test::BoringModel other;
  (void)run({.max_epochs = 1}, 1, {}, folder / "c", "batch_end", 3);
  Trainer trainer(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(trainer.fit(other, test::boring_loader(2), {}, folder / "c"),
                    Catch::Contains("layer.weight: missing in the checkpoint") &&
                        Catch::Contains("first.weight: not in the model"));
  CHECK_THROWS_WITH(trainer.fit(other, test::boring_loader(2), {}, folder / "nowhere"),
                    Catch::Contains("nowhere: there is no such folder"));
  std::filesystem::create_directories(folder / "empty");
  CHECK_THROWS_WITH(trainer.fit(other, test::boring_loader(2), {}, folder / "empty"),
                    Catch::Contains("holds neither model.safetensors"));
  CHECK_NOTHROW(trainer.fit(other, test::boring_loader(2), {}, std::optional<Checkpoint>()));
}

TEST_CASE("checkpoint: callbacks and the module keep what they want", "[unit][trainer]") {
  struct Counts : Callback {
    int count = 0;
    void on_train_batch_end(Trainer&, LightningModule&, const StepOutput&, const Batch&,
                            std::int64_t) override {
      ++count;
    }
    nlohmann::json state_dict() const override { return {{"count", count}}; }
    void load_state_dict(const nlohmann::json& state) override { count = state.at("count").get<int>(); }
  };
  struct Remembers : test::BoringModel {
    std::string note;
    void on_save_checkpoint(TrainerCheckpoint& c) override { c.module["note"] = note; }
    void on_load_checkpoint(const TrainerCheckpoint& c) override {
      note = c.module.at("note").get<std::string>();
    }
  };
  const test::Folder folder;
  const auto counts = std::make_shared<Counts>();
  Remembers model;
  model.note = "kept";
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {counts}}));
  trainer.fit(model, test::boring_loader(3));
  trainer.save_checkpoint(folder / "c");
  const auto again = std::make_shared<Counts>();
  Remembers fresh;
  Trainer(quiet({.max_epochs = 2, .callbacks = {again}}))
      .fit(fresh, test::boring_loader(3), {}, folder / "c");
  CHECK(again->count == 6);
  CHECK(fresh.note == "kept");
}

}  // namespace trainer_resume_test
