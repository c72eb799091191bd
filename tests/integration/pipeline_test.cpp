// Ranks that hold the stages of a pipeline train what one process trains.
#include "tests/support/parallel_runs.h"

#include <rtrain/metrics/aggregation.h>
#include <rtrain/models/gpt2.h>
#include <rtrain/models/llama.h>
#include <rtrain/strategies/model_parallel.h>

#include <limits>

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::Folder;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::Tensors;

namespace {

constexpr test::GptSizes kSizes{.layers = 4};
constexpr std::int64_t kSamples = 48, kBatch = 8;  // 6 steps an epoch

DataLoader loader(int ranks) { return test::loader_of(test::sequences(kSamples, kSizes), kBatch, ranks); }

/// Its steps do not know whether there are stages.
struct Learner : LightningModule, parallel::PipelineModule {
  virtual torch::Tensor loss_of(const torch::Tensor& logits, const torch::Tensor& target) {
    return torch::cross_entropy_loss(logits.flatten(0, 1), target.flatten());
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto loss = loss_of(pipeline(batch.input), batch.target);
    log("loss", loss, {.on_step = false, .on_epoch = true, .sync_dist = true});
    log("tokens", static_cast<double>(batch.input.numel()),
        {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum, .sync_dist = true});
    return loss;
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    auto loss = loss_of(pipeline(batch.input), batch.target);
    log("val_loss", loss, {.sync_dist = true});
    return loss;
  }
  torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return pipeline(batch.input); }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(optim::split_decay(*this, 0.1), {.lr = 0.01});
    auto scheduler = lr::StepLR(adam, {.step_size = 1, .gamma = 0.5});
    return {{adam}, {scheduler}};
  }
};

/// Its vocabulary is tied: the first and the last stage have it.
struct Gpt : Learner {
  explicit Gpt(torch::ScalarType type = torch::kFloat64) { to(type); }
  parallel::PipelineLayers pipeline_layers() override { return net->pipeline_layers(); }
  models::GPT2 net = register_module("net", models::GPT2(models::GPT2Options{.vocab_size = kSizes.vocabulary,
                                                                             .n_positions = kSizes.length,
                                                                             .n_embd = kSizes.width,
                                                                             .n_layer = kSizes.layers,
                                                                             .n_head = kSizes.heads,
                                                                             .dropout = 0}));
};

struct LlamaNet final : Learner {
  LlamaNet() { to(torch::kFloat64); }
  parallel::PipelineLayers pipeline_layers() override { return net->pipeline_layers(); }
  models::Llama net =
      register_module("net", models::Llama(models::LlamaOptions{.vocab_size = kSizes.vocabulary,
                                                                .hidden_size = kSizes.width,
                                                                .intermediate_size = 2 * kSizes.width,
                                                                .num_hidden_layers = kSizes.layers,
                                                                .num_attention_heads = kSizes.heads,
                                                                .num_key_value_heads = 2}));
};

/// Layers that float16 has on CPUs, too, in float32.
struct Perceptron : Learner {
  parallel::PipelineLayers pipeline_layers() override {
    return {parallel::pipeline_layer(in),
            {.forward = [this](const torch::Tensor& x) { return torch::relu(hidden(x)).to(torch::kFloat32); },
             .modules = {hidden.ptr()}},
            parallel::pipeline_layer(out)};
  }
  torch::Tensor loss_of(const torch::Tensor& logits, const torch::Tensor& target) override {
    const auto loss = Learner::loss_of(logits.to(torch::kFloat32), target);
    return is_infinite ? loss * std::numeric_limits<float>::infinity() : loss;
  }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    is_infinite = i == infinite_at;
    auto output = Learner::training_step(batch, i);
    is_infinite = false;
    return output;
  }
  torch::nn::Embedding in = register_module("in", torch::nn::Embedding(kSizes.vocabulary, kSizes.width));
  torch::nn::Linear hidden = register_module("hidden", torch::nn::Linear(kSizes.width, kSizes.width));
  torch::nn::Linear out = register_module("out", torch::nn::Linear(kSizes.width, kSizes.vocabulary));
  std::int64_t infinite_at = -1;  ///< the batch whose loss is infinite; -1: none
  bool is_infinite = false;
};

/// Layers that a tensor group shares, in stages.
struct Both final : Learner {
  void configure_model() override {
    if (net) return;
    net = register_module(
        "net",
        test::ParallelGpt(kSizes, test::GptRanks{.tensor = device_mesh().shared_group(Axis::kTensor)}));
    net->to(torch::kFloat64);
  }
  parallel::PipelineLayers pipeline_layers() override {
    auto* gpt = net.get();
    parallel::PipelineLayers layers{{.forward =
                                         [gpt](const torch::Tensor& tokens) {
                                           return gpt->wte(tokens) + gpt->wpe(torch::arange(tokens.size(1)));
                                         },
                                     .modules = {gpt->wte.ptr(), gpt->wpe.ptr()},
                                     .cost = 0}};
    for (const auto& block : *net->blocks)
      layers.push_back(
          {.forward =
               [block](const torch::Tensor& x) { return block->as<test::ParallelBlock>()->forward(x); },
           .modules = {block}});
    layers.push_back({.forward = [gpt](const torch::Tensor& x) { return gpt->wte->logits(gpt->ln(x)); },
                      .modules = {gpt->ln.ptr(), gpt->wte.ptr()},
                      .cost = 0});
    return layers;
  }
  torch::Tensor loss_of(const torch::Tensor& logits, const torch::Tensor& target) override {
    return parallel::vocab_parallel_cross_entropy(logits, target, net->ranks.tensor);
  }
  test::ParallelGpt net{nullptr};
};

struct Fit {
  int epochs = 2;
  std::string from{}, to{};
  double clip = 0.05;
  int accumulate = 1;
  std::string precision = "32-true";
  bool seeds_differ = false;  ///< rank r begins with the seed 100 + r
};

Tensors fit(Learner& module, AnyStrategy strategy, int data_ranks, const Fit& how) {
  Trainer trainer(quiet({.max_epochs = how.epochs,
                         .accumulate_grad_batches = how.accumulate,
                         .gradient_clip_val = how.clip,
                         .precision = how.precision,
                         .strategy = std::move(strategy)}));
  trainer.fit(module, loader(data_ranks), loader(data_ranks),
              how.from.empty() ? CheckpointPath() : CheckpointPath(how.from));
  if (!how.to.empty()) trainer.save_checkpoint(how.to);
  return test::whole_result(module, trainer);
}

using Make = std::function<std::shared_ptr<Learner>()>;

Make gpt() {
  return [] { return std::make_shared<Gpt>(); };
}

Tensors alone(const Fit& how = {}, const Make& make = gpt()) {
  torch::manual_seed(100);
  const auto module = make();
  return fit(*module, "single_device", 1, how);
}

struct Case {
  ModelParallelOptions options{};
  int world = 2;
  int data = 1;
};

/// What each rank has after a fit.
std::vector<Tensors> together(const Case& one, const Fit& how = {}, const Make& make = gpt()) {
  return test::results_of(one.world, [&](int rank) {
    torch::manual_seed(static_cast<std::uint64_t>(how.seeds_differ ? 100 + rank : 100));
    const auto module = make();
    return fit(*module, ModelParallelStrategy(one.options), one.data, how);
  });
}

void check(const Case& one, const Tensors& expected, const Fit& how = {}, const Make& make = gpt()) {
  INFO("pipeline " << one.options.pipeline_parallel_size << ", schedule " << one.options.schedule << ", "
                   << one.world << " ranks, data " << one.data);
  test::check_results(expected, together(one, how, make));
}

const Case kTwo{.options = {.pipeline_parallel_size = 2, .num_microbatches = 4}, .world = 2};
const Case kFour{.options = {.pipeline_parallel_size = 4, .num_microbatches = 8}, .world = 4};
const Case kInterleaved{
    .options = {.pipeline_parallel_size = 2, .num_microbatches = 4, .schedule = "interleaved"}, .world = 2};

/// What the ranks say that fail. @param rank whose words; others may only see that it is gone.
std::string failure_of(const std::function<void()>& body, std::size_t rank = 0) {
  std::vector<std::string> failures;
  CHECK(run_ranks(2, [&](int) { body(); }, &failures) == std::vector<int>{3, 3});
  return failures.at(rank);
}

}  // namespace

TEST_CASE("pipeline: two and four stages train what one process trains", "[integration][pipeline]") {
  const auto expected = alone();
  check(kTwo, expected);
  check(kFour, expected);
  check({.options = {.pipeline_parallel_size = 2, .num_microbatches = 2, .schedule = "gpipe"}, .world = 2},
        expected);
}

TEST_CASE("pipeline: interleaved stages train what one process trains", "[integration][pipeline]") {
  check(kInterleaved, alone());
}

TEST_CASE("pipeline: replicas of a pipeline train what one process trains", "[integration][pipeline]") {
  check({.options = {.pipeline_parallel_size = 2, .num_microbatches = 2}, .world = 4, .data = 2}, alone());
}

TEST_CASE("pipeline: replicas and tied parameters are the same, whatever the ranks began with",
          "[integration][pipeline]") {
  const auto results =
      together({.options = {.pipeline_parallel_size = 2, .num_microbatches = 2}, .world = 4, .data = 2},
               {.seeds_differ = true});
  for (const auto& after : results)
    for (const auto& [name, tensor] : after) CHECK(torch::equal(tensor, results[0].at(name)));
  // The first stage is rank 0's.
  CHECK(torch::equal(together(kTwo, {.epochs = 0, .seeds_differ = true})[1].at("net.wte.weight"),
                     alone({.epochs = 0}).at("net.wte.weight")));
}

TEST_CASE("pipeline: stages of layers that a tensor group shares", "[integration][pipeline]") {
  const Make both = [] { return std::make_shared<Both>(); };
  check({.options = {.tensor_parallel_size = 2, .pipeline_parallel_size = 2, .num_microbatches = 4},
         .world = 4},
        alone({}, both), {}, both);
}

TEST_CASE("pipeline: Llama's layers", "[integration][pipeline]") {
  const Make llama = [] { return std::make_shared<LlamaNet>(); };
  check(kTwo, alone({}, llama), {}, llama);
}

TEST_CASE("pipeline: gradients that are accumulated, and the clipping bites", "[integration][pipeline]") {
  const Fit how{.accumulate = 3};
  const auto expected = alone(how);
  CHECK((expected.at("net.ln_f.bias") - alone({.clip = 1e6, .accumulate = 3}).at("net.ln_f.bias"))
            .abs()
            .max()
            .item<double>() > 1e-6);
  check(kTwo, expected, how);
}

TEST_CASE("pipeline: bfloat16 where one process has it", "[integration][pipeline]") {
  const Make in_float = [] { return std::make_shared<Gpt>(torch::kFloat32); };
  const Fit how{.precision = "bf16-mixed"};
  const auto expected = alone(how, in_float);
  for (const auto& after : together(kTwo, how, in_float))
    CHECK(std::abs(after.at("metric loss").item<double>() - expected.at("metric loss").item<double>()) <
          0.02);
}

TEST_CASE("pipeline: 16-mixed scales and unscales on every stage", "[integration][pipeline][precision]") {
  const Make in_float = [] { return std::make_shared<Perceptron>(); };
  const Fit how{.precision = "16-mixed"};
  const auto expected = alone(how, in_float);
  const auto results = together(kTwo, how, in_float);
  for (const auto& after : results) {
    for (const auto& [name, tensor] : after) CHECK(torch::equal(tensor, results[0].at(name)));
    CHECK(std::abs(after.at("metric loss").item<double>() - expected.at("metric loss").item<double>()) <
          0.02);
  }
}

TEST_CASE("pipeline: an infinity in the last stage leaves the step out in all",
          "[integration][pipeline][precision]") {
  CHECK(run_ranks(2, [&](int) {
          torch::manual_seed(100);
          Perceptron module;
          module.infinite_at = 1;
          Trainer trainer(
              quiet({.max_epochs = 1,
                     .precision = MixedPrecision("16-mixed", GradScalerOptions{.init_scale = 256}),
                     .strategy = ModelParallelStrategy(kTwo.options)}));
          trainer.fit(module, loader(1));
          full_parameters(module, [&] {
            for (const auto& item : module.named_parameters())
              if (!item.value().isfinite().all().item<bool>())
                throw std::runtime_error(item.key() + " is not finite");
          });
          const auto scale = trainer.precision_plugin().state().at("scale").get<double>();
          if (scale != 128) throw std::runtime_error("the scale is " + std::to_string(scale));
        }) == test::kBothEnded);
}

TEST_CASE("pipeline: a mean counts each micro-batch by its batch_size", "[integration][pipeline]") {
  struct Uneven final : Gpt {
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      // The first token of the samples, where it is odd: a different number of them in each micro-batch.
      const auto tokens = batch.input.select(1, 0);
      const auto odd = tokens.masked_select(tokens.remainder(2) == 1).to(torch::kFloat64);
      log("odd", odd.numel() > 0 ? odd.mean() : torch::scalar_tensor(0, torch::kFloat64),
          {.on_step = false, .on_epoch = true, .sync_dist = true, .batch_size = odd.numel()});
      return Gpt::training_step(batch, i);
    }
  };
  const Make uneven = [] { return std::make_shared<Uneven>(); };
  check(kTwo, alone({}, uneven), {}, uneven);
}

TEST_CASE("pipeline: backward() and on_before_backward are the module's", "[integration][pipeline]") {
  struct Uneven final : Gpt {
    void on_before_backward(const torch::Tensor& loss) override {
      log("before", loss,
          {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum, .sync_dist = true});
    }
    void backward(const torch::Tensor& loss, const BackwardOptions& options) override {
      LightningModule::backward(loss * (1.0 + 3.0 * static_cast<double>(global_step() % 2)), options);
    }
  };
  const Make uneven = [] { return std::make_shared<Uneven>(); };
  const Fit how{.clip = 1e6};
  const auto expected = alone(how, uneven);
  CHECK((expected.at("net.ln_f.bias") - alone(how).at("net.ln_f.bias")).abs().max().item<double>() > 1e-6);
  check(kTwo, expected, how, uneven);
  check(kInterleaved, expected, how, uneven);
}

TEST_CASE("pipeline: checkpoints are whole, and any number of stages goes on from them",
          "[integration][pipeline]") {
  const Folder folder;
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  (void)together(kTwo, {.epochs = 1, .to = path("two")});
  SECTION("nothing is trained: what is loaded is saved again") {
    (void)alone({.epochs = 1, .from = path("two"), .to = path("one")});
    test::check_equal_checkpoints(path("two"), path("one"));
    (void)together(kFour, {.epochs = 1, .from = path("one"), .to = path("four")});
    test::check_equal_checkpoints(path("two"), path("four"));
    (void)together(kInterleaved, {.epochs = 1, .from = path("four"), .to = path("interleaved")});
    test::check_equal_checkpoints(path("two"), path("interleaved"));
  }
  SECTION("training goes on") {
    const auto expected = alone();
    test::check_close(expected, alone({.from = path("two")}), 1e-9);
    for (const auto& after : together(kFour, {.from = path("two")})) test::check_close(expected, after, 1e-9);
  }
}

TEST_CASE("pipeline: evaluation and predictions are those of one process, on every rank",
          "[integration][pipeline]") {
  torch::manual_seed(100);
  const auto module = std::make_shared<Gpt>();
  Trainer trainer(quiet({.strategy = "single_device"}));
  const auto expected = trainer.predict(module, loader(1));
  const auto metrics = trainer.validate(module, loader(1));
  CHECK(run_ranks(2, [&](int) {
          torch::manual_seed(100);
          const auto own = std::make_shared<Gpt>();
          Trainer staged(quiet({.strategy = ModelParallelStrategy(kTwo.options)}));
          const auto predictions = staged.predict(own, loader(1));
          if (predictions.size() != expected.size()) throw std::runtime_error("another number of batches");
          for (std::size_t i = 0; i < expected.size(); ++i)
            if (!torch::allclose(predictions[i], expected[i], 1e-12, 1e-12))
              throw std::runtime_error("batch " + std::to_string(i) + " is another one");
          const auto own_metrics = staged.validate(own, loader(1));
          if (std::abs(own_metrics.at("val_loss") - metrics.at("val_loss")) > 1e-12)
            throw std::runtime_error("another val_loss");
        }) == test::kBothEnded);
}

TEST_CASE("pipeline: what does not fit is refused by name", "[integration][pipeline]") {
  const auto run = [](Learner& module, const ModelParallelOptions& options) {
    (void)fit(module, ModelParallelStrategy(options), 1, {});
  };
  CHECK_THAT(failure_of([&] {
               Gpt module;
               run(module, {.pipeline_parallel_size = 2, .num_microbatches = 3});
             }),
             Contains("a batch of 8 samples cannot be cut into 3 micro-batches"));
  CHECK_THAT(
      failure_of([&] {
        struct Short final : Gpt {
          parallel::PipelineLayers pipeline_layers() override {
            auto layers = Gpt::pipeline_layers();
            const auto all = layers.size();
            parallel::PipelineLayer one{
                .forward = [layers](const torch::Tensor& tokens) { return layers[0].forward(tokens); }};
            for (std::size_t i = 0; i < all; ++i)
              one.modules.insert(one.modules.end(), layers[i].modules.begin(), layers[i].modules.end());
            return {one};
          }
        } module;
        run(module, {.pipeline_parallel_size = 2});
      }),
      Contains("the module has 1 layers (pipeline_layers()) for 2 stages"));
  CHECK_THAT(failure_of(
                 [&] {
                   struct Untold final : Gpt {
                     parallel::PipelineLayers pipeline_layers() override {
                       auto layers = Gpt::pipeline_layers();
                       layers.back().modules = {net->ln_f.ptr()};  // it reads the embedding, too
                       return layers;
                     }
                   } module;
                   run(module, {.pipeline_parallel_size = 2});
                 },
                 1),
             Contains("reads net.wte.weight, which rank 0 of the pipeline has") && Contains("rank 1"));
  CHECK_THAT(failure_of([&] {
               struct Forgotten final : Gpt {
                 Forgotten() { register_module("extra", torch::nn::Linear(2, 2)); }
               } module;
               run(module, {.pipeline_parallel_size = 2});
             }),
             Contains("no layer of pipeline_layers() names extra.weight, extra.bias"));
  struct Plain final : LightningModule {
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return layer(batch.input.to(torch::kFloat32)).mean();
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
    torch::nn::Linear layer = register_module("layer", torch::nn::Linear(kSizes.length, 2));
  };
  CHECK_THAT(failure_of([&] {
               Plain module;
               Trainer trainer(quiet(
                   {.max_epochs = 1, .strategy = ModelParallelStrategy({.pipeline_parallel_size = 2})}));
               trainer.fit(module, loader(1));
             }),
             Contains("the module does not say its layers") && Contains("PipelineModule"));
  CHECK_THAT(failure_of(
                 [&] {
                   struct Alone final : Gpt {
                     void backward(const torch::Tensor& loss, const BackwardOptions&) override {
                       loss.backward();
                     }
                   } module;
                   run(module, {.pipeline_parallel_size = 2});
                 },
                 1),
             Contains("does not call LightningModule::backward(loss, options)"));
  CHECK_THAT(failure_of(
                 [&] {
                   struct Counts final : Gpt {
                     StepOutput training_step(const Batch& batch, std::int64_t i) override {
                       mean.update(batch.input.to(torch::kFloat64));
                       return Gpt::training_step(batch, i);
                     }
                     metrics::MeanMetric& mean = register_metric("mean", metrics::MeanMetric());
                   } module;
                   run(module, {.pipeline_parallel_size = 2});
                 },
                 1),
             Contains("updated the metric \"mean\"") && Contains("reset() it within the step"));
  CHECK_THROWS_WITH(
      ModelParallelStrategy({.pipeline_parallel_size = 2, .num_microbatches = 3, .schedule = "interleaved"}),
      Contains("num_microbatches is 3") && Contains("a multiple of pipeline_parallel_size, 2"));
  CHECK_THROWS_WITH(ModelParallelStrategy({.pipeline_parallel_size = 0, .schedule = "zb"}),
                    Contains("pipeline_parallel_size is 0") && Contains("schedule is \"zb\""));
}
