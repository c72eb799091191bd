// DDP with parameters that are left out, frozen and unfrozen, against
// torch.nn.parallel.DistributedDataParallel in Python.
#include "tests/support/ranks.h"
#include "tests/support/reference.h"

#include <map>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

using Tensors = std::map<std::string, torch::Tensor>;

/// tests/reference/ddp_unused.py's model and choices.
struct Net : LightningModule {
  torch::nn::Linear stem = register_module("stem", torch::nn::Linear(6, 8));
  std::vector<torch::nn::Linear> blocks;
  torch::nn::Linear head{nullptr}, box{nullptr};
  std::string scenario;
  std::int64_t batch_number = 0;

  explicit Net(std::string name) : scenario(std::move(name)) {
    for (int i = 0; i < 3; ++i)
      blocks.push_back(register_module("block" + std::to_string(i), torch::nn::Linear(8, 8)));
    head = register_module("head", torch::nn::Linear(8, 1));
    box = register_module("box", torch::nn::Linear(8, 2));
    to(torch::kFloat64);
    if (scenario == "unfreeze") freeze(true);
  }

  void freeze(bool frozen) {
    for (const auto& item : named_parameters()) {
      if (item.key().starts_with("stem.") || item.key().starts_with("block0."))
        torch::Tensor(item.value()).requires_grad_(!frozen);
    }
  }

  void on_train_epoch_start() override {
    if (current_epoch() == 1 && (scenario == "freeze" || scenario == "unfreeze"))
      freeze(scenario == "freeze");
  }

  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto step = batch_number++;
    const auto rank = trainer().global_rank();
    std::vector<bool> keep{true, step % 2 == 0, step % 3 != 0};
    bool with_head = true, with_box = true;
    if (scenario == "stochastic_depth") {
      for (int i = 0; i < 3; ++i) keep[static_cast<std::size_t>(i)] = (step * 7 + i * 3 + rank * 5) % 4 != 0;
    } else if (scenario == "branch_of_one_rank") {
      keep = {true, true, true};
      with_box = rank == 0 && step % 3 != 2;
    } else if (scenario == "batch_without_targets") {
      keep = {true, true, true};
      with_head = with_box = step % 2 != rank;
    }
    auto h = torch::tanh(stem(batch.input));
    for (std::size_t i = 0; i < 3; ++i) {
      if (keep[i]) h = h + torch::tanh(blocks[i](h));
    }
    auto loss = 0.1 * h.square().mean();
    if (with_head) loss = loss + (head(h).squeeze(1) - batch.target).square().mean();
    if (with_box) loss = loss + box(h).square().mean();
    return loss;
  }
  Optimizers configure_optimizers() override {
    return optim::SGD(parameters(), {.lr = 0.05, .momentum = 0.9});
  }
};

Tensors train(const std::string& scenario, const Tensors& begin, const DDPOptions& ddp) {
  Net net(scenario);
  {
    const torch::NoGradGuard no_grad;
    for (const auto& item : net.named_parameters())
      torch::Tensor(item.value()).copy_(begin.at("init." + item.key()));
  }
  Tensors seen;
  std::int64_t step = 0;
  Trainer trainer(
      quiet({.max_epochs = 2,
             .accumulate_grad_batches = scenario == "accumulate" ? 2 : 1,
             .strategy = DDPStrategy(ddp),
             .callbacks = {
                 LambdaCallback({.on_before_optimizer_step = [&](Trainer&, LightningModule& m, Optimizer&) {
                   for (const auto& item : m.named_parameters()) {
                     if (item.value().grad().defined())
                       seen.emplace(std::to_string(step) + "." + item.key(), item.value().grad().clone());
                   }
                   ++step;
                 }})}}));
  trainer.fit(
      net, DataLoader(data::TensorDataset(begin.at("x"), begin.at("y")), {.batch_size = 3, .shuffle = true}));
  for (const auto& item : net.named_parameters())
    seen.emplace("end." + item.key(), item.value().detach().clone());
  return seen;
}

constexpr const char* kScenarios[] = {
    "layer_drop", "stochastic_depth", "branch_of_one_rank", "batch_without_targets",
    "freeze",     "unfreeze",         "accumulate"};

}  // namespace

TEST_CASE("ddp: the set of unused parameters may change from step to step", "[integration][ddp][F01]") {
  const Folder folder;
  torch::manual_seed(5);
  const auto x = torch::randn({24, 6}, torch::kFloat64);
  Tensors begin{{"x", x}, {"y", x.sum(1).sin()}};
  for (const auto& item : Net("").named_parameters())
    begin.emplace("init." + item.key(), item.value().detach());
  REQUIRE(run_ranks(2, [&](int rank) {
            save_safetensors(folder / std::to_string(rank),
                             {train("layer_drop", begin, {.find_unused_parameters = true}), {}});
          }) == kBothEnded);
  const auto zero = load_safetensors(folder / "0").tensors, one = load_safetensors(folder / "1").tensors;
  REQUIRE(zero.size() == one.size());
  for (const auto& [name, tensor] : zero) CHECK(torch::equal(tensor, one.at(name)));
}

TEST_CASE("ddp: gradients are PyTorch's whatever the model leaves out", "[integration][ddp][F01][F20]") {
  const Folder folder;
  if (!test::make_reference("ddp_unused.py", folder.path())) return;
  const auto begin = load_safetensors(folder / "begin.safetensors").tensors;
  const auto ways = std::vector<std::pair<std::string, DDPOptions>>{
      {"plain", {.find_unused_parameters = true}},
      {"views", {.bucket_cap_mb = 0.0005, .find_unused_parameters = true, .gradient_as_bucket_view = true}}};
  REQUIRE(run_ranks(2, [&](int rank) {
            for (const auto& [way, options] : ways) {
              Tensors all;
              for (const std::string scenario : kScenarios) {
                for (auto& [name, tensor] : train(scenario, begin, options))
                  all.emplace(scenario + "." + name, tensor);
              }
              save_safetensors(folder / (way + std::to_string(rank)), {all, {}});
            }
          }) == kBothEnded);
  for (const std::string rank : {"0", "1"}) {
    const auto theirs = load_safetensors(folder / ("python" + rank + ".safetensors")).tensors;
    for (const auto& [way, options] : ways) {
      const auto ours = load_safetensors(folder / (way + rank)).tensors;
      for (const auto& [name, tensor] : theirs) {
        INFO(way << " rank " << rank << " " << name);
        const auto found = ours.find(name);
        REQUIRE(found != ours.end());
        CHECK((found->second - tensor).abs().max().item<double>() < 1e-10);
      }
      for (const auto& [name, tensor] : ours) {
        INFO(way << " rank " << rank << " " << name << " has a gradient here and none in Python");
        CHECK(theirs.contains(name));
      }
    }
  }
}

TEST_CASE("ddp: parameters frozen or unfrozen between steps need no find_unused_parameters",
          "[integration][ddp][F20]") {
  struct Freezes : Net {
    Freezes() : Net("") {}
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      freeze(batch_number++ % 4 < 2);
      auto h = torch::tanh(stem(batch.input));
      for (auto& block : blocks) h = h + torch::tanh(block(h));
      return (head(h).squeeze(1) - batch.target).square().mean() + box(h).square().mean();
    }
  };
  const Folder folder;
  torch::manual_seed(3);
  const auto x = torch::randn({24, 6}, torch::kFloat64);
  const auto run = [&](int world, const std::string& name, AnyStrategy strategy) {
    torch::manual_seed(7);
    Freezes net;
    net.freeze(true);
    Trainer trainer(quiet({.max_epochs = 2, .strategy = std::move(strategy)}));
    const auto set = data::TensorDataset(x, x.sum(1).sin());
    const auto sampler = std::make_shared<DistributedSampler>(
        set->size(), DistributedSamplerOptions{.num_replicas = 1, .rank = 0});
    trainer.fit(net, world == 2 ? DataLoader(set, {.batch_size = 3, .shuffle = true})
                                : DataLoader(set, {.batch_size = 6, .sampler = sampler}));
    Tensors end;
    for (const auto& item : net.named_parameters()) end.emplace(item.key(), item.value().detach());
    save_safetensors(folder / name, {end, {}});
  };
  run(1, "alone", "single_device");
  REQUIRE(run_ranks(2, [&](int rank) {
            run(2, std::to_string(rank), DDPStrategy({.gradient_as_bucket_view = true}));
          }) == kBothEnded);
  const auto alone = load_safetensors(folder / "alone").tensors;
  for (const auto& [name, tensor] : alone) {
    INFO(name);
    CHECK((load_safetensors(folder / "0").tensors.at(name) - tensor).abs().max().item<double>() < 1e-10);
    CHECK((load_safetensors(folder / "1").tensors.at(name) - tensor).abs().max().item<double>() < 1e-10);
  }
}

TEST_CASE("ddp: parameters that one rank alone unfreezes are refused by name", "[integration][ddp][F20]") {
  struct Unfreezes : Net {
    Unfreezes() : Net("unfreeze") {}
    void on_train_epoch_start() override {
      if (current_epoch() == 1 && trainer().global_rank() == 1) freeze(false);
    }
  };
  std::vector<std::string> failures;
  const auto x = torch::randn({24, 6}, torch::kFloat64);
  const auto codes = run_ranks(
      2,
      [&](int) {
        Unfreezes net;
        Trainer trainer(quiet({.max_epochs = 2, .strategy = DDPStrategy({.find_unused_parameters = true})}));
        trainer.fit(net, DataLoader(data::TensorDataset(x, x.sum(1)), {.batch_size = 3}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  CHECK_THAT(failures[1], Catch::Contains("stem.weight unfrozen") &&
                              Catch::Contains("rank 0 is in all_reduce of gradients"));
}
