// Replicas that step alone and meet now and then, between real ranks: post-local SGD and DiLoCo.
#include "tests/support/given_gradients.h"
#include "tests/support/ranks.h"

#include <map>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::golden_numbers;
using rtrain::test::golden_sections;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

using Tensors = std::map<std::string, torch::Tensor>;

/// With its parameters after each step.
struct Given : test::GivenGradients {
  Tensors seen;  ///< "<step> rank<r> <name>"
  Given() : GivenGradients(0.1) {}
  void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t batch_idx) override {
    for (const auto& item : named_parameters())
      seen.emplace(
          std::to_string(batch_idx) + " rank" + std::to_string(trainer().global_rank()) + " " + item.key(),
          item.value().detach().clone());
  }
};

/// What all ranks saw, and "end rank<r> <name>".
Tensors train_given(AnyStrategy strategy, int world, std::int64_t steps) {
  const Folder folder;
  const auto codes = run_ranks(world, [&](int rank) {
    Given model;
    Trainer trainer(quiet({.max_epochs = 1, .strategy = strategy, .use_distributed_sampler = false}));
    trainer.fit(model, test::step_numbers(steps));
    for (const auto& item : model.named_parameters())
      model.seen.emplace("end rank" + std::to_string(rank) + " " + item.key(), item.value().detach().clone());
    save_safetensors(folder / std::to_string(rank), {model.seen, {}});
  });
  REQUIRE(codes == std::vector<int>(static_cast<std::size_t>(world), 0));
  Tensors all;
  for (int rank = 0; rank < world; ++rank) all.merge(load_safetensors(folder / std::to_string(rank)).tensors);
  return all;
}

void check_golden(const std::string& title, const DDPOptions& options) {
  const auto seen = train_given(DDPStrategy(options), 4, 7);
  std::size_t checked = 0;
  for (const auto& section : golden_sections("strategies/comm_hooks.txt")) {
    if (section.title != title) continue;
    for (const auto& line : section.lines) {
      const auto at = line.find(' ', line.find(' ', line.find(' ') + 1) + 1);
      INFO(title << ": " << line.substr(0, at));
      const auto own = seen.at(line.substr(0, at)).reshape(-1);
      CHECK(
          (own - torch::tensor(golden_numbers(line.substr(at)), torch::kFloat64)).abs().max().item<double>() <
          1e-14);
      ++checked;
    }
  }
  CHECK(checked == 7 * 4 * 3);
}

}  // namespace

TEST_CASE("local SGD: parameters are those of torch's hook and averagers, step by step",
          "[integration][ddp][local]") {
  check_golden("post_localSGD period 2",
               {.ddp_comm_hook = comm_hooks::post_localSGD({.start_localSGD_iter = 2, .subgroup_size = 1}),
                .model_averaging_period = 2});
  check_golden("post_localSGD hierarchy",
               {.ddp_comm_hook = comm_hooks::post_localSGD({.start_localSGD_iter = 2, .subgroup_size = 2}),
                .model_averaging_hierarchy = {{2, 2}, {4, 4}}});
}

TEST_CASE("local SGD: gradients that are not averaged at all, and groups that do not fit",
          "[integration][ddp][local]") {
  const auto alone =
      comm_hooks::post_localSGD({.start_localSGD_iter = 2, .post_local_gradient_allreduce = false});
  const auto single = comm_hooks::post_localSGD({.start_localSGD_iter = 2, .subgroup_size = 1});
  const auto own = train_given(DDPStrategy({.ddp_comm_hook = alone, .model_averaging_period = 2}), 2, 6);
  const auto groups = train_given(DDPStrategy({.ddp_comm_hook = single, .model_averaging_period = 2}), 2, 6);
  for (const auto& [name, tensor] : own) {
    INFO(name);
    CHECK(torch::equal(tensor, groups.at(name)));
  }
  CHECK_FALSE(torch::equal(own.at("3 rank0 a"), own.at("3 rank1 a")));
  CHECK(torch::equal(own.at("4 rank0 a"), own.at("4 rank1 a")));
  // Step 5 was local: the end is the mean.
  CHECK_FALSE(torch::equal(own.at("5 rank0 a"), own.at("5 rank1 a")));
  CHECK(torch::equal(own.at("end rank0 a"), own.at("end rank1 a")));
  CHECK(torch::allclose(own.at("end rank0 a"), (own.at("5 rank0 a") + own.at("5 rank1 a")) / 2, 0, 1e-15));
  std::vector<std::string> failures;
  CHECK(run_ranks(
            2,
            [&](int) {
              Given model;
              Trainer trainer(
                  quiet({.max_epochs = 1,
                         .strategy = DDPStrategy({.ddp_comm_hook = comm_hooks::post_localSGD(
                                                      {.start_localSGD_iter = 2, .subgroup_size = 3}),
                                                  .model_averaging_hierarchy = {{2, 2}}})}));
              trainer.fit(model, test::step_numbers(2));
            },
            &failures) == std::vector<int>{3, 3});
  for (const auto& text : failures)
    CHECK(text == "comm_hooks::post_localSGD: subgroup_size is 3, expected a divisor of the 2 ranks");
}

namespace {

/// The same arithmetic in one process, on each rank's parameters.
struct Simulated {
  explicit Simulated(int world) {
    Given model;
    for (int rank = 0; rank < world; ++rank)
      for (const auto& item : model.named_parameters())
        own[static_cast<std::size_t>(rank)].push_back(item.value().detach().clone());
    for (const auto& tensor : own[0]) anchor.push_back(tensor.clone()), momentum.push_back({});
    ranks = world;
  }
  void inner_step(std::int64_t step) {
    for (int rank = 0; rank < ranks; ++rank)
      for (int i = 0; i < 3; ++i) {
        auto& value = own[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)];
        value -= 0.1 * Given::gradient(value, i, step, rank);
      }
  }
  void outer_step(double lr, double mu, bool nesterov, bool narrow = false) {
    for (std::size_t i = 0; i < 3; ++i) {
      auto sum = torch::zeros_like(anchor[i]);
      for (int rank = 0; rank < ranks; ++rank) {
        auto part = anchor[i] - own[static_cast<std::size_t>(rank)][i];
        if (narrow)
          part = (part.to(torch::kBFloat16) / ranks).to(torch::kFloat64);
        else
          part = part / ranks;
        sum += part;
      }
      if (narrow) sum = sum.to(torch::kBFloat16).to(torch::kFloat64);
      momentum[i] = momentum[i].defined() ? mu * momentum[i] + sum : sum.clone();
      const auto step = mu == 0 ? sum : nesterov ? sum + mu * momentum[i] : momentum[i];
      anchor[i] = anchor[i] - lr * step;
      for (int rank = 0; rank < ranks; ++rank) own[static_cast<std::size_t>(rank)][i] = anchor[i].clone();
    }
  }
  int ranks = 0;
  std::array<std::vector<torch::Tensor>, 3> own;
  std::vector<torch::Tensor> anchor, momentum;
};

void check_diloco(const DiLoCoOptions& options, int world, std::int64_t steps, double tolerance = 1e-14) {
  const auto seen = train_given(DiLoCoStrategy(options), world, steps);
  Simulated expected(world);
  const std::array<std::string, 3> names{"a", "b", "bias"};
  const auto check = [&](const std::string& when, int rank, const std::vector<torch::Tensor>& values) {
    for (std::size_t i = 0; i < 3; ++i) {
      const auto name = when + " rank" + std::to_string(rank) + " " + names[i];
      INFO(name);
      CHECK((seen.at(name) - values[i]).abs().max().item<double>() <= tolerance);
    }
  };
  for (std::int64_t step = 0; step < steps; ++step) {
    expected.inner_step(step);
    if ((step + 1) % options.sync_every == 0)
      expected.outer_step(options.outer_lr, options.outer_momentum, options.nesterov,
                          options.bf16_pseudo_gradient);
    for (int rank = 0; rank < world; ++rank)
      check(std::to_string(step), rank, expected.own[static_cast<std::size_t>(rank)]);
  }
  std::vector<torch::Tensor> mean;
  for (std::size_t i = 0; i < 3; ++i) {
    auto sum = torch::zeros_like(expected.anchor[i]);
    for (int rank = 0; rank < world; ++rank) sum += expected.own[static_cast<std::size_t>(rank)][i];
    mean.push_back(sum / world);
  }
  for (int rank = 0; rank < world; ++rank) check("end", rank, mean);
  for (const auto& name : names)
    CHECK(torch::equal(seen.at("end rank0 " + name), seen.at("end rank1 " + name)));
}

}  // namespace

TEST_CASE("DiLoCo: inner and outer steps are those of a simulation in one process",
          "[integration][diloco][local]") {
  check_diloco({.sync_every = 3}, 2, 8);
  check_diloco({.sync_every = 2}, 3, 6);
  check_diloco({.sync_every = 2, .outer_lr = 1, .outer_momentum = 0, .nesterov = false}, 2, 5);
  check_diloco({.sync_every = 2, .outer_lr = 0.5, .outer_momentum = 0.8, .nesterov = false}, 2, 6);
  check_diloco({.sync_every = 1}, 2, 3);
  check_diloco({.sync_every = 2, .bf16_pseudo_gradient = true}, 2, 6);
}

namespace {

/// Adam, whose state differs by rank, and batch norm, whose buffers do.
struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(12, 16));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(16));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(16, 1));
  std::vector<torch::Tensor> validated;  ///< parameters and buffers in each validation
  StepOutput training_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    validated.push_back(all());
    log("val", loss_of(batch), {.sync_dist = true});
    return {};
  }
  torch::Tensor loss_of(const Batch& batch) {
    return (second(torch::tanh(norm(first(batch.input)))).squeeze(1) - batch.target).square().mean();
  }
  [[nodiscard]] torch::Tensor all() const {
    std::vector<torch::Tensor> rows;
    for (const auto& parameter : parameters()) rows.push_back(parameter.detach().reshape(-1));
    for (const auto& buffer : buffers()) rows.push_back(buffer.to(torch::kFloat32).reshape(-1));
    return torch::cat(rows);
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

DataLoader sines(std::int64_t batch_size = 8) {
  torch::manual_seed(4);
  const auto x = torch::randn({96, 12});
  return {data::TensorDataset(x, x.narrow(1, 0, 4).sum(1).sin()),
          {.batch_size = batch_size, .shuffle = true}};
}

struct Trained {
  Tensors of_rank;  ///< "0", "1": all parameters and buffers at the end; "val0": those of each validation
};

/// @param stop_at saves "stopped" after so many steps, and ends; 0: trains to the end.
Trained train(const AnyStrategy& strategy, const Folder& folder, int world, std::int64_t stop_at,
              const CheckpointPath& from, bool save_within = false, bool async = false) {
  const auto codes = run_ranks(world, [&](int rank) {
    const auto loader = sines();
    torch::manual_seed(static_cast<std::uint64_t>(rank));
    Net net;
    std::vector<AnyCallback> callbacks;
    if (save_within)
      callbacks.push_back(LambdaCallback(
          {.on_train_batch_end =
               [&](Trainer& t, LightningModule&, const StepOutput&, const Batch&, std::int64_t) {
                 if (t.global_step() == 5) t.save_checkpoint(folder / "within");
               },
           .on_validation_end =
               [&](Trainer& t, LightningModule&) {
                 if (!t.sanity_checking()) t.save_checkpoint(folder / "validated");
               }}));
    Trainer trainer(
        quiet({.max_epochs = 3,
               .max_steps = stop_at > 0 ? stop_at : 14,
               .val_check_interval = 4,
               .strategy = strategy,
               .plugins = async ? std::vector<AnyPlugin>{AsyncCheckpointIO()} : std::vector<AnyPlugin>{},
               .callbacks = std::move(callbacks)}));
    trainer.fit(net, loader, sines(32), from);
    if (stop_at > 0) trainer.save_checkpoint(folder / "stopped");
    if (net.validated.empty()) net.validated.push_back(torch::zeros({1}));
    save_safetensors(folder / std::to_string(rank),
                     {{{"end", net.all()}, {"validated", torch::stack(net.validated)}}, {}});
  });
  REQUIRE(codes == std::vector<int>(static_cast<std::size_t>(world), 0));
  Trained result;
  for (int rank = 0; rank < world; ++rank) {
    const auto saved = load_safetensors(folder / std::to_string(rank)).tensors;
    result.of_rank.emplace(std::to_string(rank), saved.at("end"));
    result.of_rank.emplace("val" + std::to_string(rank), saved.at("validated"));
  }
  return result;
}

const AnyStrategy& diloco() {
  static const AnyStrategy strategy = DiLoCoStrategy({.sync_every = 4});
  return strategy;
}
const AnyStrategy& post_local() {
  static const AnyStrategy strategy =
      DDPStrategy({.broadcast_buffers = false,
                   .ddp_comm_hook = comm_hooks::post_localSGD({.start_localSGD_iter = 2, .subgroup_size = 1}),
                   .model_averaging_period = 4});
  return strategy;
}

}  // namespace

TEST_CASE("local SGD: each rank validates the same model, and training goes on from its own",
          "[integration][diloco][local]") {
  for (const auto* strategy : {&diloco(), &post_local()}) {
    const Folder plain, saving;
    const auto trained = train(*strategy, plain, 2, 0, {});
    CHECK(torch::equal(trained.of_rank.at("val0"), trained.of_rank.at("val1")));
    CHECK(torch::equal(trained.of_rank.at("0"), trained.of_rank.at("1")));
    // Saving takes means, and changes nothing.
    const auto saved = train(*strategy, saving, 2, 0, {}, /*save_within=*/true);
    CHECK(torch::equal(saved.of_rank.at("0"), trained.of_rank.at("0")));
    const auto own = [&](const char* rank) {
      return load_safetensors(saving / ("within/rng-rank" + std::string(rank) + ".safetensors"))
          .tensors.at("strategy.value.first.weight");
    };
    CHECK_FALSE(torch::equal(own("0"), own("1")));
    const auto model = load_safetensors(saving / "within/model.safetensors").tensors.at("first.weight");
    CHECK(torch::allclose(model, (own("0") + own("1")) / 2, 0, 1e-7));
  }
}

TEST_CASE("local SGD: a run that resumes within a period has the bits of one that never stopped",
          "[integration][diloco][local]") {
  for (const auto* strategy : {&diloco(), &post_local()}) {
    const Folder whole;
    const auto expected = train(*strategy, whole, 2, 0, {}, /*save_within=*/true);
    const auto resume = [&](const CheckpointPath& from, const Folder& folder) {
      const auto resumed = train(*strategy, folder, 2, 0, from);
      CHECK(torch::equal(resumed.of_rank.at("0"), expected.of_rank.at("0")));
      CHECK(torch::equal(resumed.of_rank.at("1"), expected.of_rank.at("1")));
    };
    const Folder within, validated, stopped;
    resume(whole / "within", within);
    resume(whole / "validated", validated);
    (void)train(*strategy, stopped, 2, 6, {});  // saved when fit() had returned
    resume(stopped / "stopped", stopped);
    // Copies that are made beside the training are of the same values.
    const Folder beside, after;
    (void)train(*strategy, beside, 2, 0, {}, /*save_within=*/true, /*async=*/true);
    resume(beside / "within", after);
  }
}

TEST_CASE("local SGD: another number of ranks goes on from the mean, and says so",
          "[integration][diloco][local]") {
  for (const auto* strategy : {&diloco(), &post_local()}) {
    const Folder folder;
    (void)train(*strategy, folder, 2, 6, {});
    REQUIRE(run_ranks(3, [&](int rank) {
              const test::Heard heard;
              const auto loader = sines();
              Net net;
              torch::Tensor start;
              Trainer trainer(
                  quiet({.max_epochs = 3,
                         .max_steps = 14,
                         .strategy = *strategy,
                         .callbacks = {LambdaCallback({.on_train_start = [&](Trainer&, LightningModule&) {
                           start = net.first->weight.detach().clone();
                         }})}}));
              trainer.fit(net, loader, {}, folder / "stopped");
              const auto saved = load_safetensors(folder / "stopped/model.safetensors").tensors;
              TORCH_CHECK(torch::equal(start, saved.at("first.weight")));
              const bool told =
                  heard.text().find("of another number of ranks: every rank goes on from the mean") !=
                  std::string::npos;
              TORCH_CHECK(told == (rank == 0), heard.text());
            }) == std::vector<int>{0, 0, 0});
  }
}

TEST_CASE("DiLoCo: a small model learns, and is the same on every rank", "[integration][diloco][local]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            const auto loader = sines();
            torch::manual_seed(static_cast<std::uint64_t>(rank));
            Net net;
            Trainer trainer(quiet({.max_epochs = 80, .strategy = DiLoCoStrategy({.sync_every = 10})}));
            trainer.fit(net, loader);
            torch::manual_seed(4);
            const auto x = torch::randn({96, 12});
            net.eval();
            const auto loss = net.loss_of(Batch(x, x.narrow(1, 0, 4).sum(1).sin()));
            save_safetensors(folder / std::to_string(rank),
                             {{{"end", net.all()}, {"loss", loss.detach()}}, {}});
          }) == kBothEnded);
  const auto zero = load_safetensors(folder / "0").tensors, one = load_safetensors(folder / "1").tensors;
  CHECK(torch::equal(zero.at("end"), one.at("end")));
  CHECK(zero.at("loss").item<double>() < 0.1);  // about 0.5 at the start
}

TEST_CASE("DiLoCo: ranks do not wait for each other within a period", "[integration][diloco][local]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            struct Waits : Given {
              std::filesystem::path mark;
              StepOutput training_step(const Batch& batch, std::int64_t i) override {
                // Rank 1 takes its first step once rank 0 has taken five.
                while (trainer().global_rank() == 1 && i == 0 && !std::filesystem::exists(mark))
                  ::usleep(1000);
                if (trainer().global_rank() == 0 && i == 4) std::ofstream(mark) << "here";
                return Given::training_step(batch, i);
              }
            } model;
            model.mark = folder / "mark";
            Trainer trainer(quiet({.max_epochs = 1,
                                   .strategy = DiLoCoStrategy({.sync_every = 6}),
                                   .use_distributed_sampler = false}));
            trainer.fit(model, test::step_numbers(6));
            save_safetensors(folder / std::to_string(rank), {{{"a", model.a.detach()}}, {}});
          }) == kBothEnded);
  CHECK(torch::equal(load_safetensors(folder / "0").tensors.at("a"),
                     load_safetensors(folder / "1").tensors.at("a")));
}
