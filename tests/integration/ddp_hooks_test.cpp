// Communication hooks of DDP between real ranks: torch's own numbers, closed forms, and runs that are
// resumed.
#include "tests/support/given_gradients.h"
#include "tests/support/ranks.h"

#include <map>
#include <set>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::golden_numbers;
using rtrain::test::golden_sections;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

using Tensors = std::map<std::string, torch::Tensor>;

/// With the gradients that the optimizer gets.
struct Given : test::GivenGradients {
  Tensors gradients;  ///< by "<step> <name>"
  explicit Given(torch::ScalarType type, double rate = 0) : GivenGradients(rate, type) {}
  void on_before_optimizer_step(Optimizer&) override {
    const auto step = std::to_string(trainer().global_step());
    for (const auto& item : named_parameters())
      gradients.emplace(step + " " + item.key(), item.value().grad().clone());
  }
};

Tensors reduced(const CommHook& hook, torch::ScalarType type, std::int64_t steps, int world = 2,
                double bucket_cap_mb = 25) {
  const Folder folder;
  const auto codes = run_ranks(world, [&](int rank) {
    Given model(type);
    Trainer trainer(quiet({.max_epochs = 1,
                           .strategy = DDPStrategy({.bucket_cap_mb = bucket_cap_mb, .ddp_comm_hook = hook}),
                           .use_distributed_sampler = false}));
    trainer.fit(model, test::step_numbers(steps));
    save_safetensors(folder / std::to_string(rank), {model.gradients, {}});
  });
  REQUIRE(codes == std::vector<int>(static_cast<std::size_t>(world), 0));
  const auto first = load_safetensors(folder / "0").tensors;
  for (int rank = 1; rank < world; ++rank)
    for (const auto& [name, gradient] : load_safetensors(folder / std::to_string(rank)).tensors) {
      INFO("rank " << rank << ", " << name);
      CHECK(torch::equal(gradient, first.at(name)));
    }
  return first;
}

/// Of the golden section, by "<step> <name>".
Tensors golden(const std::string& title) {
  for (const auto& section : golden_sections("strategies/comm_hooks.txt")) {
    if (section.title != title) continue;
    Tensors all;
    for (const auto& line : section.lines) {
      const auto at = line.find(' ', line.find(' ') + 1);
      all.emplace(line.substr(0, at), torch::tensor(golden_numbers(line.substr(at)), torch::kFloat64));
    }
    return all;
  }
  throw std::runtime_error("there is no section " + title);
}

void check_golden(const std::string& title, const CommHook& hook, torch::ScalarType type, double tolerance) {
  INFO(title);
  const auto expected = golden(title);
  const auto seen = reduced(hook, type, 5);
  REQUIRE(seen.size() == expected.size());
  for (const auto& [name, numbers_of] : expected) {
    INFO(name);
    const auto own = seen.at(name).to(torch::kFloat64).reshape(-1);
    CHECK((own - numbers_of).abs().max().item<double>() <= tolerance);
  }
}

comm_hooks::PowerSGDOptions early(comm_hooks::PowerSGDOptions options) {
  options.start_powerSGD_iter = 2;
  return options;
}

}  // namespace

TEST_CASE("comm hooks: a sum and its compressions have torch's bits", "[integration][ddp][hooks]") {
  check_golden("allreduce", comm_hooks::allreduce(), torch::kFloat64, 0);
  check_golden("fp16_compress", comm_hooks::fp16_compress(), torch::kFloat32, 0);
  check_golden("bf16_compress", comm_hooks::bf16_compress(), torch::kFloat32, 0);
}

TEST_CASE("comm hooks: PowerSGD has torch's numbers", "[integration][ddp][hooks]") {
  const auto f64 = torch::kFloat64;
  const auto check = [&](const std::string& title, const comm_hooks::PowerSGDOptions& options) {
    check_golden(title, comm_hooks::powerSGD(early(options)), f64, 1e-12);
  };
  check("powerSGD rank 1", {.matrix_approximation_rank = 1, .min_compression_rate = 1.5});
  check("powerSGD rank 2", {.matrix_approximation_rank = 2, .min_compression_rate = 1, .random_seed = 7});
  check("powerSGD rank 3", {.matrix_approximation_rank = 3, .min_compression_rate = 0.5});
  check("powerSGD default", {});
  check("powerSGD without error feedback", {.min_compression_rate = 1, .use_error_feedback = false});
  check("powerSGD without warm start", {.min_compression_rate = 1, .warm_start = false});
  check("powerSGD epsilon", {.min_compression_rate = 1, .orthogonalization_epsilon = 0.01});
  // What 16 bits lose depends on the order of sums within a product.
  const auto narrow = comm_hooks::powerSGD(early({.min_compression_rate = 1}));
  check_golden("fp16_compress_wrapper powerSGD", comm_hooks::fp16_compress_wrapper(narrow), torch::kFloat32,
               4e-3);
  check_golden("bf16_compress_wrapper powerSGD", comm_hooks::bf16_compress_wrapper(narrow), torch::kFloat32,
               3e-2);
}

TEST_CASE("comm hooks: 16 bits round once before the sum, on three ranks, too", "[integration][ddp][hooks]") {
  /// Gradients of 3 k + 0.1: the cast drops the tenth, the division by 3 is exact, and so is the sum.
  struct Exact : LightningModule {
    torch::Tensor w = register_parameter("w", torch::zeros({16}));
    torch::Tensor seen;
    StepOutput training_step(const Batch&, std::int64_t) override {
      return (w * own(trainer().global_rank())).sum();
    }
    static torch::Tensor own(int rank) { return 3 * (torch::arange(64, 80) - 7.0 * rank) + 0.1; }
    void on_before_optimizer_step(Optimizer&) override { seen = w.grad().clone(); }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
  };
  const auto gradient = [](const CommHook& hook) {
    const Folder folder;
    REQUIRE(run_ranks(3, [&](int rank) {
              Exact model;
              Trainer trainer(quiet({.max_steps = 1, .strategy = DDPStrategy({.ddp_comm_hook = hook})}));
              trainer.fit(model, test::step_numbers(3));
              if (rank == 2) save_safetensors(folder / "2", {{{"w", model.seen}}, {}});
            }) == std::vector<int>{0, 0, 0});
    return load_safetensors(folder / "2").tensors.at("w");
  };
  const auto whole = 3 * (torch::arange(64, 80).to(torch::kFloat32) - 7);
  CHECK(torch::equal(gradient(comm_hooks::bf16_compress()), whole));
  // float16 keeps an eighth in this range: 0.1 becomes 0.125, and a third of it is 0.0416..
  auto halves = torch::zeros({16}, torch::kFloat16);
  for (int rank = 0; rank < 3; ++rank) halves += Exact::own(rank).to(torch::kFloat16) / 3;
  CHECK((gradient(comm_hooks::fp16_compress()) - halves.to(torch::kFloat32)).abs().max().item<double>() <=
        0.125);
}

TEST_CASE("comm hooks: an approximation of full rank is the mean, in one bucket or in many",
          "[integration][ddp][hooks]") {
  const auto full =
      comm_hooks::powerSGD(early({.matrix_approximation_rank = 6, .min_compression_rate = 0.1}));
  const auto mean = reduced({}, torch::kFloat64, 5);
  for (const double bucket_cap_mb : {25.0, 0.0003}) {
    INFO(bucket_cap_mb);
    for (const auto& [name, gradient] : reduced(full, torch::kFloat64, 5, 2, bucket_cap_mb)) {
      INFO(name);
      CHECK((gradient - mean.at(name)).abs().max().item<double>() < 1e-12);
    }
  }
}

namespace {

struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(12, 24));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(24, 1));
  double latest = 0;
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto loss = (second(torch::tanh(first(batch.input))).squeeze(1) - batch.target).square().mean();
    latest = loss.item<double>();
    return loss;
  }
  Optimizers configure_optimizers() override {
    return optim::SGD(parameters(), {.lr = 0.05, .momentum = 0.9});
  }
};

DataLoader sines(std::int64_t samples = 128) {
  torch::manual_seed(4);
  const auto x = torch::randn({samples, 12});
  return {data::TensorDataset(x, x.narrow(1, 0, 4).sum(1).sin()), {.batch_size = 8, .shuffle = true}};
}

Tensors parameters_of(const torch::nn::Module& module) {
  Tensors all;
  for (const auto& item : module.named_parameters()) all.emplace(item.key(), item.value().detach().clone());
  return all;
}

/// @param stop_at saves "stopped" after so many steps, and ends; 0: trains on.
Tensors train(const CommHook& hook, const Folder& folder, std::int64_t stop_at, const CheckpointPath& from) {
  REQUIRE(run_ranks(2, [&](int rank) {
            const auto loader = sines();
            torch::manual_seed(static_cast<std::uint64_t>(rank));
            Net net;
            Trainer trainer(
                quiet({.max_epochs = 3,
                       .max_steps = stop_at > 0 ? stop_at : 20,
                       .strategy = DDPStrategy({.bucket_cap_mb = 0.001, .ddp_comm_hook = hook})}));
            trainer.fit(net, loader, {}, from);
            if (stop_at > 0) trainer.save_checkpoint(folder / "stopped");
            save_safetensors(folder / std::to_string(rank), {parameters_of(net), {}});
          }) == kBothEnded);
  return load_safetensors(folder / "1").tensors;
}

}  // namespace

TEST_CASE("comm hooks: a small model learns through each of them", "[integration][ddp][hooks]") {
  const auto loss_with = [](const CommHook& hook) {
    const Folder folder;
    REQUIRE(run_ranks(2, [&](int rank) {
              const auto loader = sines();
              torch::manual_seed(static_cast<std::uint64_t>(rank));
              Net net;
              Trainer trainer(quiet({.max_epochs = 12, .strategy = DDPStrategy({.ddp_comm_hook = hook})}));
              trainer.fit(net, loader);
              std::ofstream(folder / std::to_string(rank)) << net.latest;
            }) == kBothEnded);
    double loss = 0;
    std::ifstream(folder / "0") >> loss;
    return loss;
  };
  const auto plain = loss_with({});
  CHECK(plain < 0.3);  // about 0.5 at the start
  CHECK(loss_with(comm_hooks::fp16_compress()) < 1.1 * plain + 0.01);
  CHECK(loss_with(comm_hooks::bf16_compress()) < 1.1 * plain + 0.01);
  CHECK(loss_with(comm_hooks::powerSGD(early({}))) < 1.2 * plain + 0.02);
}

TEST_CASE("comm hooks: a run with PowerSGD that resumes has the bits of one that never stopped",
          "[integration][ddp][hooks]") {
  const auto hook = comm_hooks::powerSGD(early({}));
  const Folder whole, part;
  const auto expected = train(hook, whole, 0, {});
  (void)train(hook, part, 9, {});
  const auto state = load_safetensors(part / "stopped/rng-rank1.safetensors").tensors;
  REQUIRE(state.contains("strategy.hook.error.first.weight"));
  CHECK_FALSE(state.contains("strategy.hook.error.first.bias"));
  const auto resumed = train(hook, part, 0, part / "stopped");
  for (const auto& [name, tensor] : expected) {
    INFO(name);
    CHECK(torch::equal(tensor, resumed.at(name)));
  }
  // Without what was lost it would be another run.
  const auto forgetful =
      train(comm_hooks::powerSGD(early({.use_error_feedback = false})), part, 0, part / "stopped");
  CHECK_FALSE(torch::equal(expected.at("first.weight"), forgetful.at("first.weight")));
}

TEST_CASE("comm hooks: a sparse gradient is summed as it is", "[integration][ddp][hooks]") {
  struct Words : LightningModule {
    torch::nn::Embedding words =
        register_module("words", torch::nn::Embedding(torch::nn::EmbeddingOptions(6, 2).sparse(true)));
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return words(batch.input).square().mean();
    }
    Optimizers configure_optimizers() override { return optim::SparseAdam(parameters(), {.lr = 0.1}); }
  };
  const auto trained = [](const CommHook& hook) {
    const Folder folder;
    REQUIRE(run_ranks(2, [&](int rank) {
              torch::manual_seed(static_cast<std::uint64_t>(rank));
              Words model;
              Trainer trainer(quiet({.max_epochs = 1, .strategy = DDPStrategy({.ddp_comm_hook = hook})}));
              trainer.fit(model, DataLoader(data::TensorDataset(torch::arange(12, torch::kInt64) % 6),
                                            {.batch_size = 2}));
              save_safetensors(folder / std::to_string(rank), {parameters_of(model), {}});
            }) == kBothEnded);
    return load_safetensors(folder / "1").tensors;
  };
  const auto plain = trained({}), compressed = trained(comm_hooks::powerSGD(early({})));
  CHECK(torch::allclose(plain.at("words.weight"), compressed.at("words.weight"), 1e-5, 1e-6));
}

TEST_CASE("comm hooks: another hook after a resume begins anew, and says so", "[integration][ddp][hooks]") {
  const Folder folder;
  (void)train(comm_hooks::powerSGD(early({})), folder, 6, {});
  REQUIRE(run_ranks(2, [&](int rank) {
            const test::Heard heard;
            const auto loader = sines();
            Net net;
            Trainer trainer(
                quiet({.max_epochs = 3,
                       .max_steps = 8,
                       .strategy = DDPStrategy({.ddp_comm_hook = comm_hooks::post_localSGD(
                                                    {.start_localSGD_iter = 100, .subgroup_size = 1}),
                                                .model_averaging_period = 2})}));
            trainer.fit(net, loader, {}, folder / "stopped");
            const auto text = heard.text();
            const bool told =
                text.find("had the ddp_comm_hook powerSGD, this one has post_localSGD") != std::string::npos;
            TORCH_CHECK(told == (rank == 0), text);
          }) == kBothEnded);
}
