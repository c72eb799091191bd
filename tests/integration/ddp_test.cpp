// Two processes train over Gloo what one process trains on the joined batches.
#include "tests/support/ranks.h"

#include <map>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

struct Net : LightningModule {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(6, 40));
  torch::nn::Linear b = register_module("b", torch::nn::Linear(40, 7));
  torch::nn::Linear c = register_module("c", torch::nn::Linear(7, 1));
  torch::nn::Linear extra{nullptr};
  std::function<bool(std::int64_t)> has_no_loss;  ///< by batch
  explicit Net(bool with_unused = false) {
    if (with_unused) extra = register_module("extra", torch::nn::Linear(3, 3));
    to(torch::kFloat64);
  }
  StepOutput training_step(const Batch& batch, std::int64_t batch_idx) override {
    if (has_no_loss && has_no_loss(batch_idx)) return {};
    auto loss = (c(torch::tanh(b(torch::tanh(a(batch.input))))).squeeze(1) - batch.target).square().mean();
    log("loss", loss, {.on_step = true, .on_epoch = true, .sync_dist = true});
    log("rank", static_cast<double>(trainer().global_rank() + 1),
        {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum, .sync_dist = true});
    log("own", static_cast<double>(trainer().global_rank()), {.sync_dist = true, .rank_zero_only = true});
    return loss;
  }
  Optimizers configure_optimizers() override {
    return optim::SGD(parameters(), {.lr = 0.05, .momentum = 0.9});
  }
};

constexpr std::int64_t kSamples = 48;
std::shared_ptr<Dataset> samples() {
  torch::manual_seed(4);
  auto x = torch::randn({kSamples, 6}, torch::kFloat64);
  return data::TensorDataset(x, x.sum(1).sin());
}

using Tensors = std::map<std::string, torch::Tensor>;

/// Gradients of each step ("0.a.weight") and the parameters at the end ("end.a.weight").
Tensors train(Net& net, TrainerOptions options, const DataLoader& loader, Metrics* metrics = nullptr) {
  Tensors seen;
  std::int64_t step = 0;
  options.callbacks.push_back(
      LambdaCallback({.on_before_optimizer_step = [&](Trainer&, LightningModule& m, Optimizer&) {
        for (const auto& item : m.named_parameters()) {
          if (item.value().grad().defined())
            seen.emplace(std::to_string(step) + "." + item.key(), item.value().grad().clone());
        }
        ++step;
      }}));
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(net, loader);
  for (const auto& item : net.named_parameters())
    seen.emplace("end." + item.key(), item.value().detach().clone());
  if (metrics != nullptr) *metrics = trainer.callback_metrics();
  return seen;
}

/// One process on the joined batches, in the order in which two ranks share them.
Tensors train_alone(TrainerOptions options, bool with_unused, std::int64_t batch_size,
                    Metrics* metrics = nullptr, const std::function<bool(std::int64_t)>& has_no_loss = {}) {
  auto data = samples();
  torch::manual_seed(100);
  Net net(with_unused);
  net.has_no_loss = has_no_loss;
  options.strategy = "single_device";
  const auto sampler = std::make_shared<DistributedSampler>(
      data->size(), DistributedSamplerOptions{.num_replicas = 1, .rank = 0});
  return train(net, std::move(options), DataLoader(data, {.batch_size = 2 * batch_size, .sampler = sampler}),
               metrics);
}

void check_close(const Tensors& a, const Tensors& b, double tolerance = 1e-10) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    INFO(name);
    REQUIRE(b.contains(name));
    CHECK((tensor - b.at(name)).abs().max().item<double>() < tolerance);
  }
}

void check_against_alone(const DDPOptions& ddp, TrainerOptions options, bool with_unused,
                         std::int64_t batch_size, const std::function<bool(std::int64_t)>& has_no_loss = {}) {
  const Folder folder;
  const auto codes = run_ranks(2, [&](int rank) {
    auto data = samples();
    torch::manual_seed(static_cast<std::uint64_t>(100 + rank));  // rank 0's parameters count
    Net net(with_unused);
    net.has_no_loss = has_no_loss;
    auto own = options;
    own.strategy = DDPStrategy(ddp);
    save_safetensors(
        folder / std::to_string(rank),
        {train(net, std::move(own), DataLoader(data, {.batch_size = batch_size, .shuffle = true})), {}});
  });
  REQUIRE(codes == kBothEnded);
  const auto alone = train_alone(options, with_unused, batch_size, nullptr, has_no_loss);
  check_close(alone, load_safetensors(folder / "0").tensors);
  check_close(alone, load_safetensors(folder / "1").tensors);
}

}  // namespace

TEST_CASE("ddp: two ranks have the gradients and parameters of one process on the joined batch",
          "[integration][ddp]") {
  const TrainerOptions options{.max_epochs = 2};
  check_against_alone({}, options, false, 4);
  check_against_alone({.gradient_as_bucket_view = true}, options, false, 4);
  // buckets of about 65 numbers: uneven, one layer in several
  check_against_alone({.bucket_cap_mb = 0.0005}, options, false, 4);
  check_against_alone({.static_graph = true}, options, false, 4);
  check_against_alone({.bucket_cap_mb = 0.0005, .find_unused_parameters = true}, options, false, 4);
}

TEST_CASE("ddp: parameters without a gradient stay as they are when they are looked for",
          "[integration][ddp]") {
  check_against_alone({.find_unused_parameters = true}, {.max_epochs = 2}, true, 4);
  check_against_alone({.find_unused_parameters = true, .gradient_as_bucket_view = true}, {.max_epochs = 2},
                      true, 4);
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int) {
        Net net(/*with_unused=*/true);
        Trainer trainer(quiet({.max_epochs = 1, .strategy = "ddp"}));
        trainer.fit(net, DataLoader(samples(), {.batch_size = 4}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  for (const auto& text : failures)
    CHECK_THAT(text, Catch::Contains("extra.weight, extra.bias") &&
                         Catch::Contains("find_unused_parameters = true"));
}

TEST_CASE("ddp: accumulated batches are summed once, with clipping after it", "[integration][ddp]") {
  // 6 batches: the last two are a short accumulation
  const TrainerOptions options{.max_epochs = 2, .accumulate_grad_batches = 4, .gradient_clip_val = 0.1};
  check_against_alone({}, options, false, 4);
  check_against_alone({.gradient_as_bucket_view = true}, options, false, 4);
}

TEST_CASE("ddp: a static graph with accumulated gradients is refused on every rank",
          "[integration][ddp][F17]") {
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int) {
        Net net;
        Trainer trainer(quiet({.max_epochs = 1,
                               .accumulate_grad_batches = 2,
                               .strategy = DDPStrategy({.static_graph = true})}));
        trainer.fit(net, DataLoader(samples(), {.batch_size = 4}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  for (const auto& text : failures)
    CHECK_THAT(text, Catch::Contains("static_graph cannot be combined with accumulated gradients"));
}

TEST_CASE("ddp: an accumulation whose last batch has no loss on any rank is summed",
          "[integration][ddp][F18]") {
  const TrainerOptions accumulated{.max_epochs = 2, .accumulate_grad_batches = 2};
  const auto last = [](std::int64_t batch) { return batch % 2 == 1; };
  check_against_alone({}, accumulated, false, 4, last);
  check_against_alone({.find_unused_parameters = true, .gradient_as_bucket_view = true}, accumulated, true, 4,
                      last);
  check_against_alone({}, accumulated, false, 4,
                      [](std::int64_t batch) { return batch < 2; });  // the first window: nothing
  check_against_alone({}, {.max_epochs = 2}, false, 4,
                      [](std::int64_t batch) { return batch % 3 == 0; });  // no accumulation
}

TEST_CASE("ddp: models that differ are refused with the parameter's name, on every rank",
          "[integration][ddp]") {
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int rank) {
        Net net(/*with_unused=*/rank == 1);
        Trainer trainer(quiet({.max_epochs = 1, .strategy = "ddp"}));
        trainer.fit(net, DataLoader(samples(), {.batch_size = 4}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  for (const auto& text : failures)
    CHECK(text ==
          "DDPStrategy: the ranks' models differ: rank 1 has parameter extra.weight Double [3, 3], rank 0 "
          "has nothing");
}

TEST_CASE("ddp: synced metrics are those of all samples, and the same on each rank", "[integration][ddp]") {
  const Folder folder;
  const TrainerOptions options{.max_epochs = 1};
  REQUIRE(run_ranks(2, [&](int rank) {
            auto data = samples();
            torch::manual_seed(100);
            Net net;
            Metrics metrics;
            auto own = options;
            own.strategy = "auto";
            // batches of 9, 9 and 6: weighted
            (void)train(net, std::move(own), DataLoader(data, {.batch_size = 9}), &metrics);
            std::ofstream(folder / std::to_string(rank)) << nlohmann::json(metrics).dump();
          }) == kBothEnded);
  Metrics alone;
  (void)train_alone(options, false, 9, &alone);
  for (int rank = 0; rank < 2; ++rank) {
    std::ifstream in(folder / std::to_string(rank));
    const auto metrics = nlohmann::json::parse(in).get<Metrics>();
    CHECK(metrics.at("loss_epoch") == Approx(alone.at("loss_epoch")).epsilon(1e-10));
    CHECK(metrics.at("loss_step") == Approx(alone.at("loss_step")).epsilon(1e-10));
    CHECK(metrics.at("rank") == 3 * (1 + 2));
    CHECK(metrics.at("own") == rank);
  }
}

namespace {

/// What differs by rank (dropout, batch norm's running means) and what does not.
struct Noisy : LightningModule {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(6, 16));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(16));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.4));
  torch::nn::Linear b = register_module("b", torch::nn::Linear(16, 1));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return (b(dropout(torch::relu(norm(a(batch.input.to(torch::kFloat32)))))).squeeze(1) -
            batch.target.to(torch::kFloat32))
        .square()
        .mean();
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("val", a(batch.input.to(torch::kFloat32)).mean(), {.sync_dist = true});
    return {};
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

void train_noisy(int rank, std::uint64_t seed, const std::filesystem::path& result,
                 const CheckpointPath& from, std::vector<AnyCallback> callbacks) {
  auto data = samples();
  torch::manual_seed(seed + static_cast<std::uint64_t>(rank));
  Noisy net;
  Trainer trainer(quiet({.max_epochs = 3, .strategy = DDPStrategy(), .callbacks = std::move(callbacks)}));
  trainer.fit(net, DataLoader(data, {.batch_size = 5, .shuffle = true}), DataLoader(data, {.batch_size = 8}),
              from);
  Tensors state;
  for (const auto& item : net.named_parameters()) state.emplace(item.key(), item.value().detach());
  for (const auto& item : net.named_buffers()) state.emplace(item.key(), item.value());
  save_safetensors(result, {state, {}});
}

}  // namespace

TEST_CASE("ddp: buffers are rank 0's before each forward, unless they are left alone", "[integration][ddp]") {
  struct Watches : Noisy {
    std::vector<torch::Tensor> means;
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      means.push_back(norm->running_mean.clone());
      return Noisy::training_step(batch, i);
    }
  };
  const auto means_of = [](bool broadcast) {
    const Folder folder;
    REQUIRE(run_ranks(2, [&](int rank) {
              auto data = samples();
              torch::manual_seed(static_cast<std::uint64_t>(rank));
              Watches net;
              Trainer trainer(
                  quiet({.max_epochs = 1, .strategy = DDPStrategy({.broadcast_buffers = broadcast})}));
              trainer.fit(net, DataLoader(data, {.batch_size = 8}));
              save_safetensors(folder / std::to_string(rank), {{{"means", torch::stack(net.means)}}, {}});
            }) == kBothEnded);
    return std::pair(load_safetensors(folder / "0").tensors.at("means"),
                     load_safetensors(folder / "1").tensors.at("means"));
  };
  const auto [zero, one] = means_of(true);
  CHECK(torch::equal(zero, one));
  CHECK_FALSE(torch::equal(zero[0], zero[2]));
  const auto [own_zero, own_one] = means_of(false);
  CHECK_FALSE(torch::equal(own_zero[1], own_one[1]));
}

TEST_CASE("ddp: ranks killed at step k and resumed end with the bits of ranks that never were",
          "[integration][ddp]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            train_noisy(rank, 1, folder / ("whole" + std::to_string(rank)), {}, {});
          }) == kBothEnded);
  for (const std::int64_t step : {3, 7, 10}) {
    INFO("killed at step " << step);
    const auto checkpoint = folder / ("step" + std::to_string(step));
    const auto codes = run_ranks(2, [&](int rank) {
      train_noisy(rank, 1, folder / "never", {},
                  {LambdaCallback({.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                             const Batch&, std::int64_t) {
                    if (t.global_step() != step) return;
                    t.save_checkpoint(checkpoint);
                    t.strategy().barrier();
                    ::kill(::getpid(), SIGKILL);
                  }})});
    });
    CHECK(codes == std::vector<int>{128 + SIGKILL, 128 + SIGKILL});
    REQUIRE(run_ranks(2, [&](int rank) {
              train_noisy(rank, 77, folder / ("resumed" + std::to_string(rank)), checkpoint, {});
            }) == kBothEnded);
    for (const std::string rank : {"0", "1"}) {
      const auto whole = load_safetensors(folder / ("whole" + rank)).tensors,
                 resumed = load_safetensors(folder / ("resumed" + rank)).tensors;
      REQUIRE(whole.size() == resumed.size());
      for (const auto& [name, tensor] : whole) {
        INFO("rank " << rank << " " << name);
        CHECK(torch::equal(tensor, resumed.at(name)));
      }
    }
  }
}

TEST_CASE("ddp: ModelCheckpoint and EarlyStopping agree over the ranks", "[integration][ddp]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            auto checkpoints = std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{
                .dirpath = folder / "c", .filename = "{epoch}", .monitor = "val", .save_top_k = 2});
            train_noisy(rank, 1, folder / ("end" + std::to_string(rank)), {},
                        {checkpoints, EarlyStopping({.monitor = "val", .stopping_threshold = 1e9})});
            std::ofstream(folder / ("best" + std::to_string(rank)))
                << checkpoints->best_model_path().string();
          }) == kBothEnded);
  const auto read = [&](const std::string& name) {
    std::ifstream in(folder / name);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  CHECK(read("best0") == (folder / "c/epoch=0.ckpt").string());
  CHECK(read("best1") == read("best0"));
  CHECK(std::filesystem::exists(folder / "c/epoch=0.ckpt/rng-rank1.safetensors"));
  CHECK_FALSE(std::filesystem::exists(folder / "c/epoch=1.ckpt"));  // stopped after the first epoch
}

TEST_CASE("ddp: prediction gives each rank its own part, nothing twice", "[integration][ddp]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            struct Echo : LightningModule {
              torch::Tensor w = register_parameter("w", torch::ones({1}));
              torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return batch.input; }
            } echo;
            Trainer trainer(quiet({.strategy = "ddp"}));
            auto parts = trainer.predict(
                echo, DataLoader(data::TensorDataset(torch::arange(7, torch::kInt64)), {.batch_size = 2}));
            save_safetensors(folder / std::to_string(rank), {{{"x", torch::cat(parts)}}, {}});
          }) == kBothEnded);
  CHECK(torch::equal(load_safetensors(folder / "0").tensors.at("x"),
                     torch::tensor({0, 2, 4, 6}, torch::kInt64)));
  CHECK(
      torch::equal(load_safetensors(folder / "1").tensors.at("x"), torch::tensor({1, 3, 5}, torch::kInt64)));
}

TEST_CASE("ddp: of a batch_sampler each rank takes every second batch, as many as the others",
          "[integration][ddp]") {
  const Folder folder;
  REQUIRE(
      run_ranks(2, [&](int rank) {
        struct Halves : BatchSampler {
          std::vector<std::vector<std::int64_t>> batches() const override { return {{0, 1}, {2}, {3, 4, 5}}; }
          std::int64_t size() const override { return 3; }
        };
        struct Echo : LightningModule {
          torch::Tensor w = register_parameter("w", torch::ones({1}));
          std::vector<torch::Tensor> seen;
          StepOutput training_step(const Batch& batch, std::int64_t) override {
            seen.push_back(batch.input);
            return w.sum();
          }
          torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return batch.input; }
          Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
        } echo;
        Trainer trainer(quiet({.max_epochs = 1, .strategy = "ddp"}));
        const DataLoader loader(data::TensorDataset(torch::arange(6)),
                                {.batch_sampler = std::make_shared<Halves>(), .num_workers = 2});
        trainer.fit(echo, loader);
        save_safetensors(
            folder / std::to_string(rank),
            {{{"fit", torch::cat(echo.seen)}, {"predict", torch::cat(trainer.predict(echo, loader))}}, {}});
      }) == kBothEnded);
  const auto seen = [&](const char* rank, const char* name) {
    return load_safetensors(folder / rank).tensors.at(name);
  };
  CHECK(torch::equal(seen("0", "fit"), torch::tensor({0L, 1L, 3L, 4L, 5L})));
  CHECK(torch::equal(seen("1", "fit"), torch::tensor({2L, 0L, 1L})));  // begun again with the first batch
  CHECK(torch::equal(seen("0", "predict"), torch::tensor({0L, 1L, 3L, 4L, 5L})));
  CHECK(torch::equal(seen("1", "predict"), torch::tensor({2L})));
}

TEST_CASE("ddp: a synced mean counts every sample once, however unequal the ranks' shares are",
          "[integration][ddp][R18]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            struct Mean : LightningModule {
              torch::Tensor w = register_parameter("w", torch::ones({1}));
              torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
                log("mean", batch.input.mean(), {.sync_dist = true});
                log("most", batch.input.max(), {.reduce_fx = ReduceFx::kMax, .sync_dist = true});
                return {};
              }
            } mean;
            Trainer trainer(quiet({.strategy = "ddp", .use_distributed_sampler = false}));
            const auto samples =
                rank == 0 ? torch::arange(3, torch::kFloat64) : torch::arange(100, 111, torch::kFloat64);
            const auto metrics =
                trainer.validate(mean, DataLoader(data::TensorDataset(samples), {.batch_size = 4}));
            save_safetensors(
                folder / std::to_string(rank),
                {{{"x", torch::tensor({metrics.at("mean"), metrics.at("most")}, torch::kFloat64)}}, {}});
          }) == kBothEnded);
  const auto expected =
      torch::cat({torch::arange(3, torch::kFloat64), torch::arange(100, 111, torch::kFloat64)})
          .mean()
          .item<double>();
  for (const auto* rank : {"0", "1"}) {
    const auto metrics = load_safetensors(folder / rank).tensors.at("x");
    CHECK(metrics[0].item<double>() == Approx(expected));
    CHECK(metrics[1].item<double>() == 110);
  }
}

TEST_CASE("ddp: batch norm may be run twice before one backward", "[integration][ddp][R19]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            struct Discriminator : LightningModule {
              torch::nn::Linear in = register_module("in", torch::nn::Linear(4, 8));
              torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(8));
              torch::nn::Linear out = register_module("out", torch::nn::Linear(8, 1));
              torch::Tensor score(const torch::Tensor& x) { return out(torch::relu(norm(in(x)))); }
              StepOutput training_step(const Batch& batch, std::int64_t) override {
                const auto real = score(batch.input), fake = score(torch::randn_like(batch.input));
                return (fake - real).mean() + (real * fake).mean();
              }
              Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
            };
            torch::manual_seed(1);
            Discriminator model;
            torch::manual_seed(2 + static_cast<std::uint64_t>(rank));
            Trainer trainer(quiet({.max_epochs = 2, .strategy = "ddp"}));
            trainer.fit(model, DataLoader(data::TensorDataset(torch::randn({16, 4})), {.batch_size = 4}));
            save_safetensors(folder / std::to_string(rank),
                             {{{"in", model.in->weight.detach()}, {"out", model.out->weight.detach()}}, {}});
          }) == kBothEnded);
  const auto a = load_safetensors(folder / "0").tensors, b = load_safetensors(folder / "1").tensors;
  for (const auto& [name, tensor] : a) CHECK(torch::equal(tensor, b.at(name)));
  CHECK(a.at("in").isfinite().all().item<bool>());
}

namespace {

/// Batch norms of 2-D and 4-D inputs, with and without weights.
struct Normed : LightningModule {
  torch::nn::Conv2d conv = register_module("conv", torch::nn::Conv2d(2, 4, 3));
  torch::nn::BatchNorm2d first = register_module("first", torch::nn::BatchNorm2d(4));
  torch::nn::Linear linear = register_module("linear", torch::nn::Linear(16, 5));
  torch::nn::BatchNorm1d second =
      register_module("second", torch::nn::BatchNorm1d(torch::nn::BatchNorm1dOptions(5).affine(false)));
  Normed() { to(torch::kFloat64); }
  torch::Tensor output_of(const torch::Tensor& x) {
    return second(linear(torch::relu(first(conv(x))).flatten(1)));
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return (output_of(batch.input).tanh().sum(1) - batch.target).square().mean();
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override { return output_of(batch.input); }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
};

/// Sample 2i and 2i + 1 are one step's of two ranks with batches of one half.
std::map<std::string, torch::Tensor> train_normed(bool sync, int ranks, int rank) {
  torch::manual_seed(6);
  const auto x = torch::randn({24, 2, 4, 4}, torch::kFloat64) * 3 + 1;
  const auto sampler = std::make_shared<DistributedSampler>(
      24, DistributedSamplerOptions{.num_replicas = ranks, .rank = rank, .shuffle = false});
  const DataLoader loader(data::TensorDataset(x, x.sum({1, 2, 3}).sin()),
                          {.batch_size = 6 / ranks, .sampler = sampler});
  torch::manual_seed(7);
  Normed net;
  Trainer trainer(
      quiet({.max_epochs = 2, .sync_batchnorm = sync, .strategy = ranks > 1 ? "ddp" : "single_device"}));
  trainer.fit(net, loader, loader);
  std::map<std::string, torch::Tensor> end;
  for (const auto& item : net.named_parameters()) end.emplace(item.key(), item.value().detach());
  for (const auto& item : net.named_buffers()) end.emplace(item.key(), item.value());
  return end;
}

}  // namespace

TEST_CASE("ddp: sync_batchnorm normalizes over the batches of all ranks", "[integration][ddp]") {
  for (const bool sync : {true, false}) {
    const Folder folder;
    REQUIRE(run_ranks(2, [&](int rank) {
              save_safetensors(folder / std::to_string(rank), {train_normed(sync, 2, rank), {}});
            }) == kBothEnded);
    const auto alone = train_normed(sync, 1, 0);
    const auto first = load_safetensors(folder / "0").tensors;
    if (sync) {
      check_close(alone, first);
      check_close(alone, load_safetensors(folder / "1").tensors);
    } else {
      CHECK_FALSE(torch::allclose(alone.at("conv.weight"), first.at("conv.weight"), 1e-6));
    }
  }
}
