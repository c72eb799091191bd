// What trains under the strategies that shard: kinds of layers, optimizers, precisions, ways to step.
#include "tests/support/sharded_runs.h"
#include "tests/support/small_transformer.h"

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::check_against_alone;
using rtrain::test::Comparison;
using rtrain::test::Folder;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::SmallBlockImpl;
using rtrain::test::SmallTransformer;
using rtrain::test::SmallTransformerImpl;

namespace {

constexpr std::int64_t kSamples = 24;

std::shared_ptr<Dataset> numbers(const std::vector<std::int64_t>& shape) {
  torch::manual_seed(4);
  auto sizes = shape;
  sizes.insert(sizes.begin(), kSamples);
  const auto x = torch::randn(sizes, torch::kFloat64);
  return data::TensorDataset(x, x.flatten(1).sum(1).sin());
}

std::shared_ptr<Dataset> tokens() {
  torch::manual_seed(4);
  const std::vector<std::int64_t> shape{kSamples, SmallTransformerImpl::kLength};
  const auto x = torch::randint(SmallTransformerImpl::kTokens, shape, torch::kInt64);
  return data::TensorDataset(x, (x * 3 + 1) % SmallTransformerImpl::kTokens);
}

/// The mean square of what a layer makes of a batch.
template <class Layer>
struct Regression : LightningModule {
  template <class... A>
  explicit Regression(A&&... arguments)
      : layer(register_module("layer", std::make_shared<Layer>(std::forward<A>(arguments)...))) {
    to(torch::kFloat64);
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return (layer->forward(batch.input).flatten(1).mean(1) - batch.target).square().mean();
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("val", (layer->forward(batch.input).flatten(1).mean(1) - batch.target).square().mean(),
        {.sync_dist = true});
    return {};
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
  std::shared_ptr<Layer> layer;
};

struct RecurrentImpl : torch::nn::Module {
  torch::nn::LSTM lstm =
      register_module("lstm", torch::nn::LSTM(torch::nn::LSTMOptions(5, 6).batch_first(true)));
  torch::nn::GRU gru = register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(6, 4).batch_first(true)));
  torch::Tensor forward(const torch::Tensor& x) { return std::get<0>(gru(std::get<0>(lstm(x)))); }
};

struct AttentionImpl : torch::nn::Module {
  torch::nn::MultiheadAttention attention = register_module("attention", torch::nn::MultiheadAttention(6, 2));
  torch::nn::TransformerEncoder encoder = register_module(
      "encoder", torch::nn::TransformerEncoder(
                     torch::nn::TransformerEncoderLayer(
                         torch::nn::TransformerEncoderLayerOptions(6, 2).dim_feedforward(12).dropout(0.0)),
                     2));
  torch::Tensor forward(const torch::Tensor& x) {
    const auto t = x.transpose(0, 1);
    return encoder(std::get<0>(attention(t, t, t))).transpose(0, 1);
  }
};

struct ConvolutionImpl : torch::nn::Module {
  torch::nn::Conv2d conv =
      register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 4, 3).padding(1)));
  torch::nn::GroupNorm norm = register_module("norm", torch::nn::GroupNorm(2, 4));
  torch::nn::ConvTranspose2d up = register_module("up", torch::nn::ConvTranspose2d(4, 3, 2));
  torch::nn::PReLU prelu = register_module("prelu", torch::nn::PReLU());
  torch::nn::Bilinear bilinear = register_module("bilinear", torch::nn::Bilinear(75, 75, 2));
  torch::Tensor forward(const torch::Tensor& x) {
    const auto y = prelu(up(torch::relu(norm(conv(x))))).flatten(1);
    return bilinear(y, y.sin());
  }
};

/// Weights that are used as plain tensors: sliced, joined, transposed, normed, in a function with a backward
/// of its own.
struct ScaleFunction : torch::autograd::Function<ScaleFunction> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight) {
    context->save_for_backward({x, weight});
    return x * weight;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {gradients[0] * saved[1], (gradients[0] * saved[0]).sum(0)};
  }
};
struct FreeTensorsImpl : torch::nn::Module {
  torch::Tensor a = register_parameter("a", torch::randn({6, 6})),
                b = register_parameter("b", torch::randn({6})),
                c = register_parameter("c", torch::randn({2, 3}));
  torch::Tensor forward(const torch::Tensor& x) {
    const auto halves = a.chunk(2, 0);
    const auto mixed = torch::cat({halves[1], halves[0]}).t() / a.norm();
    auto y = x.mm(mixed) + c.view(-1) * c[1][2];
    y = y + torch::stack({b, b.flip(0)}).sum(0);
    return ScaleFunction::apply(y, b);
  }
};

FSDPOptions small_units(FSDPOptions options = {}) {
  options.auto_wrap_policy = wrap::min_elements(40);
  return options;
}

template <class Layer>
void check_layer(const std::vector<std::int64_t>& shape) {
  check_against_alone({.data = numbers(shape),
                       .make = [] { return std::make_shared<Regression<Layer>>(); },
                       .strategy = [] { return FSDPStrategy(small_units({.forward_prefetch = true})); }},
                      2);
}

struct Language : LightningModule {
  explicit Language(bool checkpointed = false) : checkpointed_(checkpointed) {
    net = register_module("net", SmallTransformer());
  }
  torch::Tensor loss_of(const Batch& batch) {
    auto x = net->wte(batch.input) + net->wpe(torch::arange(batch.input.size(1)));
    for (const auto& block : *net->blocks) {
      const auto run = [&block](const torch::Tensor& in) { return block->as<SmallBlockImpl>()->forward(in); };
      x = checkpointed_ ? rtrain::checkpoint(run, x) : run(x);
    }
    return torch::cross_entropy_loss(torch::linear(net->ln(x), net->wte->weight).flatten(0, 1),
                                     batch.target.flatten());
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("val", loss_of(batch), {.sync_dist = true});
    return {};
  }
  torch::Tensor test_step(const Batch& batch, std::int64_t) override {
    log("test", loss_of(batch), {.sync_dist = true});
    return {};
  }
  Optimizers configure_optimizers() override { return optim::AdamW(parameters(), {.lr = 0.01}); }
  SmallTransformer net{nullptr};

 private:
  bool checkpointed_;
};

FSDPOptions blocks(FSDPOptions options = {}) {
  options.auto_wrap_policy = wrap::modules<SmallBlockImpl>();
  return options;
}

std::shared_ptr<LightningModule> language64(bool checkpointed = false) {
  auto module = std::make_shared<Language>(checkpointed);
  module->to(torch::kFloat64);
  return module;
}

}  // namespace

TEST_CASE("sharding: layers of LibTorch train without a changed line", "[integration][sharding]") {
  check_layer<RecurrentImpl>({3, 5});
  check_layer<AttentionImpl>({3, 6});
  check_layer<FreeTensorsImpl>({6});
}

TEST_CASE("sharding: convolutions", "[integration][sharding]") { check_layer<ConvolutionImpl>({2, 4, 4}); }

TEST_CASE("sharding: the stages of DeepSpeedStrategy", "[integration][sharding]") {
  for (const auto& [stage, offload] :
       std::vector<std::pair<int, bool>>{{0, false}, {1, false}, {2, false}, {3, false}, {3, true}}) {
    INFO("stage " << stage << (offload ? " with offload" : ""));
    check_against_alone({.data = tokens(),
                         .make = [] { return language64(); },
                         .strategy =
                             [stage = stage, offload = offload] {
                               return DeepSpeedStrategy({.stage = stage,
                                                         .offload_optimizer = offload,
                                                         .offload_parameters = offload,
                                                         .auto_wrap_policy = wrap::modules<SmallBlockImpl>(),
                                                         .stage3_max_live_parameters = 3000});
                             },
                         .options =
                             [] {
                               return TrainerOptions{
                                   .max_epochs = 2, .accumulate_grad_batches = 2, .gradient_clip_val = 0.1};
                             }},
                        2);
  }
}

TEST_CASE("sharding: activation checkpointing", "[integration][sharding]") {
  const Folder folder;
  const auto train = [&](bool checkpointed, const std::string& name) {
    REQUIRE(run_ranks(2, [&](int) {
              torch::manual_seed(7);
              const auto module = language64(checkpointed);
              Trainer trainer(quiet({.max_epochs = 1, .strategy = FSDPStrategy(blocks())}));
              trainer.fit(module, DataLoader(tokens(), {.batch_size = 2}));
              trainer.save_checkpoint(folder / name);
            }) == test::kBothEnded);
    return load_safetensors(folder / name / "model.safetensors").tensors;
  };
  test::check_close(train(false, "kept"), train(true, "checkpointed"), 1e-12);
}

TEST_CASE("sharding: a parameter that no rank uses is left alone, and one that some use is not",
          "[integration][sharding]") {
  struct Branches : LightningModule {
    torch::nn::Linear often = register_module("often", torch::nn::Linear(6, 1)),
                      seldom = register_module("seldom", torch::nn::Linear(6, 1)),
                      never = register_module("never", torch::nn::Linear(6, 1));
    Branches() { to(torch::kFloat64); }
    StepOutput training_step(const Batch& batch, std::int64_t batch_idx) override {
      auto y = often(batch.input);
      // In some steps of the joined batch, and then in one half of it: on one rank.
      const auto part = batch_idx % 2 == 0 ? batch.input.size(0) / (trainer().world_size() == 1 ? 2 : 1) : 0;
      if (part > 0 && trainer().global_rank() == 0) {
        auto mask = torch::zeros({batch.input.size(0), 1}, torch::kFloat64);
        if (trainer().world_size() == 1)
          mask.slice(0, 0, std::nullopt, 2).fill_(1);  // the samples of rank 0
        else
          mask.fill_(1);
        y = y + mask * seldom(batch.input);
      }
      return (y.squeeze(1) - batch.target).square().mean();
    }
    torch::Tensor validation_step(const Batch&, std::int64_t) override { return {}; }
    Optimizers configure_optimizers() override {
      return optim::AdamW(parameters(), {.lr = 0.01, .weight_decay = 0.5});
    }
  };
  check_against_alone({.data = numbers({6}),
                       .make = [] { return std::make_shared<Branches>(); },
                       .strategy = [] { return FSDPStrategy({.auto_wrap_policy = wrap::names({"never"})}); }},
                      2);
}

TEST_CASE("sharding: several optimizers and manual steps", "[integration][sharding]") {
  struct Pair : LightningModule {
    torch::nn::Linear a = register_module("a", torch::nn::Linear(6, 6)),
                      b = register_module("b", torch::nn::Linear(6, 1));
    Pair() {
      set_automatic_optimization(false);
      to(torch::kFloat64);
    }
    StepOutput training_step(const Batch& batch, std::int64_t batch_idx) override {
      const auto loss = [&] {
        return (b(torch::tanh(a(batch.input))).squeeze(1) - batch.target).square().mean();
      };
      for (int i = 0; i < 2; ++i) {
        auto optimizer = optimizers().at(static_cast<std::size_t>(i));
        const auto toggled = toggle_optimizer(optimizer);
        optimizer.zero_grad();
        manual_backward(loss());
        if (batch_idx % 2 == 0) clip_gradients(optimizer, 0.01, "norm");
        optimizer.step();
      }
      return {};
    }
    torch::Tensor validation_step(const Batch&, std::int64_t) override { return {}; }
    Optimizers configure_optimizers() override {
      return {optim::Adam(a->parameters(), {.lr = 0.01}),
              optim::SGD(b->parameters(), {.lr = 0.1, .momentum = 0.9})};
    }
  };
  check_against_alone({.data = numbers({6}),
                       .make = [] { return std::make_shared<Pair>(); },
                       .strategy = [] { return FSDPStrategy({.auto_wrap_policy = wrap::names({"b"})}); }},
                      2);
}

TEST_CASE("sharding: a model that is born sharded is the model", "[integration][sharding]") {
  torch::manual_seed(7);
  const Language eager;
  const auto after = torch::rand({3});
  torch::manual_seed(7);
  const auto born = born_sharded([] { return std::make_shared<Language>(); });
  CHECK(torch::equal(after, torch::rand({3})));
  for (const auto& item : eager.named_parameters())
    CHECK(torch::equal(item.value(), born->named_parameters()[item.key()]));

  const Folder folder;
  const auto train = [&](bool is_born, const std::string& name) {
    const auto codes = run_ranks(2, [&](int) {
      torch::manual_seed(7);
      const auto module =
          is_born ? born_sharded([] { return std::make_shared<Language>(); }) : std::make_shared<Language>();
      Trainer trainer(quiet({.max_epochs = 1, .strategy = FSDPStrategy(blocks())}));
      trainer.fit(module, DataLoader(tokens(), {.batch_size = 2}));
      trainer.save_checkpoint(folder / name);
    });
    REQUIRE(codes == test::kBothEnded);
  };
  train(false, "eager");
  train(true, "born");
  const auto a = load_safetensors(folder / "eager" / "model.safetensors").tensors,
             b = load_safetensors(folder / "born" / "model.safetensors").tensors;
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) CHECK(torch::equal(tensor, b.at(name)));
}

TEST_CASE("sharding: bfloat16 parameters over float32 shards", "[integration][sharding]") {
  const Folder folder;
  const auto options = blocks({.mixed_precision = ShardedMixedPrecision{.param_dtype = torch::kBFloat16,
                                                                        .reduce_dtype = torch::kFloat32}});
  const auto train = [&](int world, AnyStrategy strategy, const std::string& name) {
    torch::manual_seed(7);
    Language net;
    Trainer trainer(quiet({.max_epochs = 3, .strategy = std::move(strategy)}));
    const auto sampler = std::make_shared<DistributedSampler>(
        kSamples, DistributedSamplerOptions{.num_replicas = world, .rank = trainer.global_rank()});
    const DataLoader loader(tokens(), {.batch_size = 4 / world, .sampler = sampler});
    trainer.fit(net, loader, loader);
    trainer.save_checkpoint(folder / name);
    return trainer.callback_metrics().at("val");
  };
  const auto codes = run_ranks(2, [&](int) {
    save_safetensors(folder / "val",
                     {{{"val", torch::scalar_tensor(train(2, FSDPStrategy(options), "two"))}}, {}});
  });
  REQUIRE(codes == test::kBothEnded);
  const auto of_two = load_safetensors(folder / "val").tensors.at("val").item<double>();
  const auto of_one = train(1, FSDPStrategy(options), "one");
  const auto of_float = train(1, "single_device", "float");
  CHECK(of_two == Approx(of_one).margin(0.05));
  CHECK(of_two == Approx(of_float).margin(0.3));
  const auto two = load_safetensors(folder / "two" / "model.safetensors").tensors,
             one = load_safetensors(folder / "one" / "model.safetensors").tensors;
  for (const auto& [name, tensor] : two) {
    INFO(name);
    CHECK(tensor.scalar_type() == torch::kFloat32);
    // More digits than bfloat16 has are kept.
    CHECK_FALSE(torch::equal(tensor, tensor.to(torch::kBFloat16).to(torch::kFloat32)));
    // The gradient of the keys' bias is zero but for rounding, and Adam makes steps of it.
    if (!name.ends_with("qkv.bias")) CHECK((tensor - one.at(name)).abs().mean().item<double>() < 0.01);
  }
}

TEST_CASE("sharding: evaluation after a fit, and in a new Trainer from the checkpoint",
          "[integration][sharding]") {
  const Folder folder;
  const auto codes = run_ranks(2, [&](int) {
    torch::manual_seed(7);
    Language net;
    Trainer trainer(quiet({.max_epochs = 2, .strategy = FSDPStrategy(blocks())}));
    const DataLoader loader(tokens(), {.batch_size = 2});
    trainer.fit(net, loader, loader);
    const auto first = trainer.test(net, loader);
    trainer.fit(net, loader, loader);  // once more with the sharded module
    trainer.save_checkpoint(folder / "saved");
    const auto second = trainer.test(net, loader);
    Language fresh;
    Trainer other(quiet({.strategy = FSDPStrategy(blocks())}));
    const auto third = other.test(fresh, loader, CheckpointPath(folder / "saved"));
    if (!(second.at("test") < first.at("test"))) throw std::runtime_error("the second fit taught nothing");
    if (second.at("test") != third.at("test")) throw std::runtime_error("the checkpoint is another model");
  });
  CHECK(codes == test::kBothEnded);
}
