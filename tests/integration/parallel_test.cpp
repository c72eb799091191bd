// Ranks that share layers and sequences train what one process trains with LibTorch's own layers.
#include "tests/support/parallel_runs.h"

#include <rtrain/strategies/model_parallel.h>

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::Folder;
using rtrain::test::ParallelGpt;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::Tensors;
using rtrain::test::WholeGpt;

namespace {

constexpr test::GptSizes kSizes;
constexpr std::int64_t kSamples = 80, kBatch = 8;  // 10 steps an epoch

DataLoader loader(int ranks) { return test::loader_of(test::sequences(kSamples, kSizes), kBatch, ranks); }

struct Learner : LightningModule {
  virtual torch::Tensor loss_of(const Batch& batch) = 0;
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto loss = loss_of(batch);
    log("loss", loss, {.on_step = false, .on_epoch = true, .sync_dist = true});
    log("sum", loss, {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum, .sync_dist = true});
    return loss;
  }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(optim::split_decay(*this, 0.1), {.lr = 0.01});
    auto scheduler = lr::StepLR(adam, {.step_size = 1, .gamma = 0.5});
    return {{adam}, {scheduler}};
  }
};

struct Whole final : Learner {
  Whole() { to(torch::kFloat64); }
  torch::Tensor loss_of(const Batch& batch) override { return net->loss(batch.input, batch.target); }
  WholeGpt net = register_module("net", WholeGpt(kSizes));
};

struct Parallel final : Learner {
  explicit Parallel(bool in_sequence = false) : in_sequence_(in_sequence) {}
  void configure_model() override {
    if (net) return;
    net = register_module(
        "net", ParallelGpt(kSizes, test::GptRanks{.tensor = device_mesh().shared_group(Axis::kTensor),
                                                  .context = device_mesh().shared_group(Axis::kContext),
                                                  .sequence_parallel = in_sequence_}));
    net->to(torch::kFloat64);
  }
  torch::Tensor loss_of(const Batch& batch) override { return net->loss(batch); }
  ParallelGpt net{nullptr};

 private:
  bool in_sequence_;
};

struct Fit {
  int epochs = 2;
  std::string from{}, to{};
  double clip = 0.5;
  std::int64_t steps = -1;
  bool averages = false;  ///< the weights at the end are averages
};

Tensors fit(Learner& module, AnyStrategy strategy, int data_ranks, const Fit& how) {
  std::vector<AnyCallback> callbacks;
  if (how.averages) callbacks.emplace_back(EMAWeightAveraging({.decay = 0.9}));
  Trainer trainer(quiet({.max_epochs = how.epochs,
                         .max_steps = how.steps,
                         .gradient_clip_val = how.clip,
                         .strategy = std::move(strategy),
                         .callbacks = callbacks}));
  trainer.fit(module, loader(data_ranks), {}, how.from.empty() ? CheckpointPath() : CheckpointPath(how.from));
  if (!how.to.empty()) trainer.save_checkpoint(how.to);
  return test::whole_result(module, trainer);
}

Tensors alone(const Fit& how = {}) {
  torch::manual_seed(100);
  Whole module;
  return fit(module, "single_device", 1, how);
}

struct Case {
  ModelParallelOptions degrees{};
  int world = 2;
  bool in_sequence = false;
};

/// What each rank has after a fit.
std::vector<Tensors> together(const Case& one, const Fit& how = {}) {
  return test::results_of(one.world, [&](int) {
    torch::manual_seed(100);
    Parallel module(one.in_sequence);
    const auto shared = one.degrees.tensor_parallel_size * one.degrees.context_parallel_size;
    return fit(module, ModelParallelStrategy(one.degrees), one.world / shared, how);
  });
}

void check(const Case& one) {
  INFO("tensor " << one.degrees.tensor_parallel_size << ", context " << one.degrees.context_parallel_size
                 << ", " << one.world << " ranks, sequence parallel " << one.in_sequence);
  auto expected = alone();
  // Of all ranks that compute parts of the loss; those of a tensor group compute the same.
  expected["metric sum"] *= one.world / one.degrees.tensor_parallel_size;
  test::check_results(expected, together(one));
}

}  // namespace

TEST_CASE("parallel: a tensor-parallel GPT trains what one process trains", "[integration][parallel]") {
  check({.degrees = {.tensor_parallel_size = 2}, .world = 2});
  check({.degrees = {.tensor_parallel_size = 4}, .world = 4});
  check({.degrees = {.data_parallel_size = 2, .tensor_parallel_size = 2}, .world = 4});
}

TEST_CASE("parallel: with sequence parallel regions", "[integration][parallel]") {
  check({.degrees = {.tensor_parallel_size = 2}, .world = 2, .in_sequence = true});
  check({.degrees = {.tensor_parallel_size = 2}, .world = 4, .in_sequence = true});
}

TEST_CASE("parallel: a context-parallel GPT trains what one process trains", "[integration][parallel]") {
  check({.degrees = {.context_parallel_size = 2}, .world = 2});
  check({.degrees = {.context_parallel_size = 2}, .world = 4});
  check({.degrees = {.tensor_parallel_size = 2, .context_parallel_size = 2}, .world = 4});
}

TEST_CASE("parallel: averages of the weights are those of one process", "[integration][parallel]") {
  const auto expected = alone({.averages = true});
  CHECK_FALSE(torch::equal(expected.at("net.ln.bias"), alone().at("net.ln.bias")));
  for (const auto& after : together({.degrees = {.tensor_parallel_size = 2}, .world = 2}, {.averages = true}))
    test::check_close(expected, after, 1e-9);
}

TEST_CASE("parallel: the clipping of these tests bites", "[integration][parallel]") {
  const auto clipped = alone(), free = alone({.clip = 1e6});
  CHECK((clipped.at("net.ln.bias") - free.at("net.ln.bias")).abs().max().item<double>() > 1e-6);
}

TEST_CASE("parallel: layers begin with the values of the whole ones, and leave the generator where they do",
          "[integration][parallel]") {
  torch::manual_seed(5);
  const WholeGpt whole(kSizes);
  const auto next = torch::rand({4});
  const auto codes = run_ranks(2, [&](int) {
    torch::manual_seed(5);
    const ParallelGpt split(kSizes, test::GptRanks{.tensor = process_group().subgroup({0, 1}, "tensor")});
    if (!torch::equal(torch::rand({4}), next)) throw std::runtime_error("another state of the generator");
    const auto parameters = split->named_parameters();
    for (const auto& [tensor, partition] : parallel::split_parameters_of(*split))
      for (const auto& item : parameters)
        if (item.value().is_same(tensor) &&
            !torch::equal(partition.whole_of(tensor), whole->named_parameters()[item.key()]))
          throw std::runtime_error(item.key() + " is another one");
  });
  CHECK(codes == test::kBothEnded);
}

TEST_CASE("parallel: checkpoints are whole, and any numbers of ranks go on from them",
          "[integration][parallel]") {
  const Folder folder;
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const Case two{.degrees = {.tensor_parallel_size = 2}, .world = 2};
  (void)together(two, {.epochs = 1, .to = path("two")});
  (void)alone({.epochs = 1, .to = path("one")});
  SECTION("nothing is trained: what is loaded is saved again") {
    (void)alone({.epochs = 1, .from = path("two"), .to = path("two as one")});
    test::check_equal_checkpoints(path("two"), path("two as one"));
    (void)together(two, {.epochs = 1, .from = path("one"), .to = path("one as two")});
    test::check_equal_checkpoints(path("one"), path("one as two"));
    (void)together({.degrees = {.tensor_parallel_size = 4}, .world = 4},
                   {.epochs = 1, .from = path("two"), .to = path("two as four")});
    test::check_equal_checkpoints(path("two"), path("two as four"));
    (void)together({.degrees = {.tensor_parallel_size = 2, .context_parallel_size = 2}, .world = 4},
                   {.epochs = 1, .from = path("two"), .to = path("two as two by two")});
    test::check_equal_checkpoints(path("two"), path("two as two by two"));
  }
  SECTION("training goes on") {
    const auto expected = alone();
    test::check_close(expected, alone({.from = path("two")}), 1e-9);
    for (const auto& after : together(two, {.from = path("one")})) test::check_close(expected, after, 1e-9);
  }
  SECTION("load_weights() takes the parts") {
    const auto file = folder / "one" / "model.safetensors";
    CHECK(run_ranks(2, [&](int) {
            ParallelGpt split(kSizes, test::GptRanks{.tensor = process_group().subgroup({0, 1}, "tensor")});
            split->to(torch::kFloat64);
            (void)load_weights(*split, file, {.prefix = "net."});
            const auto whole = load_safetensors(file).tensors;
            for (const auto& item : split->named_parameters())
              for (const auto& [tensor, partition] : parallel::split_parameters_of(*split))
                if (item.value().is_same(tensor) &&
                    !torch::equal(partition.part_of(whole.at("net." + item.key())), tensor))
                  throw std::runtime_error(item.key());
          }) == test::kBothEnded);
  }
  SECTION("training goes on within an epoch") {
    const auto expected = alone();
    (void)together(two, {.to = path("middle"), .steps = 4});
    const auto weights = [](Tensors all) {  // the mean of an epoch begins anew with other ranks
      std::erase_if(all, [](const auto& one) { return one.first.starts_with("metric "); });
      return all;
    };
    test::check_close(weights(expected), weights(alone({.from = path("middle")})), 1e-9);
  }
}

TEST_CASE("parallel: sizes that are not those of the job, and optimizers that look at whole parameters",
          "[integration][parallel]") {
  struct WithMuon final : Learner {
    void configure_model() override {
      layer = register_module(
          "layer", parallel::RowParallelLinear({.in_features = 4, .out_features = 4, .bias = false},
                                               device_mesh().shared_group(Axis::kTensor)));
    }
    torch::Tensor loss_of(const Batch&) override { return layer->weight.sum(); }
    Optimizers configure_optimizers() override { return optim::Muon({layer->weight}); }
    parallel::RowParallelLinear layer{nullptr};
  };
  std::vector<std::string> failures;
  const auto run = [&](const std::function<void()>& body) {
    failures.clear();
    CHECK(run_ranks(2, [&](int) { body(); }, &failures) == std::vector<int>{3, 3});
    return failures.at(0);
  };
  CHECK_THAT(run([] {
               Parallel module;
               (void)fit(module, ModelParallelStrategy({.tensor_parallel_size = 3}), 1, {});
             }),
             Contains("the job has 2 ranks, expected a multiple of 1 (context_parallel_size) x 3"));
  CHECK_THAT(run([] {
               WithMuon module;
               (void)fit(module, ModelParallelStrategy({.tensor_parallel_size = 2}), 1, {});
             }),
             Contains("Muon cannot step layer.weight, of which each rank has a part"));
  struct OfAnotherGroup final : Learner {
    torch::Tensor loss_of(const Batch&) override { return layer->weight.sum(); }
    parallel::RowParallelLinear layer =
        register_module("layer", parallel::RowParallelLinear({.in_features = 4, .out_features = 4},
                                                             process_group().subgroup({0, 1}, "tensor")));
  };
  CHECK_THAT(
      run([] {
        OfAnotherGroup module;
        (void)fit(module, "ddp", 2, {});
      }),
      Contains("DDPStrategy: layer.weight is part 0 of 2, and this is rank 0 of 1 of its tensor group"));
}

TEST_CASE("parallel: replicated parameters and random numbers are those of the group's first rank",
          "[integration][parallel]") {
  const auto codes = run_ranks(2, [](int rank) {
    torch::manual_seed(static_cast<std::uint64_t>(rank));
    struct Drops final : Learner {
      void configure_model() override {
        layer =
            register_module("layer", parallel::RowParallelLinear({.in_features = 4, .out_features = 4},
                                                                 device_mesh().shared_group(Axis::kTensor)));
      }
      torch::Tensor loss_of(const Batch& batch) override {
        const auto kept = torch::dropout(torch::ones({64}), 0.5, true);
        for (const auto& others : trainer().strategy().all_gather(kept))
          if (!torch::equal(others, kept)) throw std::runtime_error("the ranks drop different elements");
        for (const auto& others : trainer().strategy().all_gather(layer->bias.detach()))
          if (!torch::equal(others, layer->bias)) throw std::runtime_error("the ranks have different biases");
        return layer(batch.input.narrow(1, 0, 2).to(torch::kFloat32)).square().mean();
      }
      parallel::RowParallelLinear layer{nullptr};
    } module;
    (void)fit(module, ModelParallelStrategy({.tensor_parallel_size = 2}), 1, {.epochs = 1});
  });
  CHECK(codes == test::kBothEnded);
}

TEST_CASE("parallel: ranks of a tensor group that read different data are named", "[integration][parallel]") {
  const auto fit_with = [](int differing, std::vector<std::string>& failures) {
    return run_ranks(
        2,
        [differing](int rank) {
          torch::manual_seed(100);
          Parallel module;
          auto x = torch::arange(kBatch * kSizes.length).reshape({kBatch, kSizes.length}) % kSizes.vocabulary;
          if (rank == differing) x[kBatch - 1][0] += 1;
          Trainer trainer(
              quiet({.max_epochs = 1, .strategy = ModelParallelStrategy({.tensor_parallel_size = 2})}));
          trainer.fit(module, DataLoader(data::TensorDataset(x, x), {.batch_size = kBatch}));
        },
        &failures);
  };
  std::vector<std::string> failures;
  CHECK(fit_with(/*differing=*/-1, failures) == test::kBothEnded);
  failures.clear();
  CHECK(fit_with(/*differing=*/1, failures) == std::vector<int>{3, 3});
  for (const auto& text : failures)
    CHECK_THAT(text, Contains("the first training batch of epoch 0 is not the same") &&
                         Contains("rank 0 has one, rank 1 another"));
}
