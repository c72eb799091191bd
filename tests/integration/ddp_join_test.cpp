// Streams of different lengths: with DDPOptions::join the ranks that have ended take part in the others'
// steps.
#include "tests/support/ranks.h"

#include <map>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

/// Rank r has the rows 10 r, 10 r + 1, ...: `rows[r]` of them.
struct Rows : IterableDataset<torch::Tensor> {
  struct Reading : Stream<torch::Tensor> {
    Reading(std::int64_t begin, std::int64_t end) : at(begin), last(end) {}
    std::optional<torch::Tensor> next() override {
      if (at == last) return std::nullopt;
      return torch::tensor({static_cast<double>(at++)}, torch::kFloat64);
    }
    [[nodiscard]] nlohmann::json save_state() const override { return at; }
    void load_state(const nlohmann::json& state) override { at = state.get<std::int64_t>(); }
    std::int64_t at, last;
  };
  explicit Rows(std::vector<std::int64_t> of_rank) : rows(std::move(of_rank)) {}
  [[nodiscard]] std::unique_ptr<Stream<torch::Tensor>> open(const Shard& shard, std::int64_t) const override {
    return std::make_unique<Reading>(10 * shard.rank,
                                     10 * shard.rank + rows[static_cast<std::size_t>(shard.rank)]);
  }
  std::vector<std::int64_t> rows;
};

/// The gradient of w is the sum over the batch's rows.
struct Sums : LightningModule {
  torch::Tensor w = register_parameter("w", torch::zeros({1}, torch::kFloat64));
  torch::Tensor unused;
  std::vector<double> gradients;
  std::vector<double> logged;
  std::int64_t batches = 0, without = 0;
  explicit Sums(bool with_unused = false) {
    if (with_unused) unused = register_parameter("unused", torch::ones({2}, torch::kFloat64));
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    ++batches;
    log("rows", batch.input.mean(), {.on_step = true, .on_epoch = true, .sync_dist = true});
    log("most", batch.input.max(),
        {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kMax, .sync_dist = true});
    return (w * batch.input).sum();
  }
  void on_before_optimizer_step(Optimizer&) override { gradients.push_back(w.grad().item<double>()); }
  void on_train_batch_end(const StepOutput&, const Batch& batch, std::int64_t) override {
    if (batch.empty()) ++without;
  }
  Optimizers configure_optimizers() override {
    return optim::SGD(parameters(), {.lr = 0.1, .momentum = 0.9});
  }
};

using Numbers = std::map<std::string, std::vector<double>>;

/// Of each rank "gradients0", "w0", "metrics0": rows_step, rows_epoch, most.
Numbers train(const std::vector<std::int64_t>& rows, const DDPOptions& options, TrainerOptions trained = {},
              std::int64_t batch_size = 1, bool with_unused = false) {
  const auto world = static_cast<int>(rows.size());
  const Folder folder;
  const auto codes = run_ranks(world, [&](int rank) {
    Sums model(with_unused);
    auto own = trained;
    own.max_epochs = own.max_epochs.value_or(1);
    own.strategy = DDPStrategy(options);
    Trainer trainer(quiet(std::move(own)));
    trainer.fit(model, DataLoader(std::make_shared<Rows>(rows), {.batch_size = batch_size}));
    const auto metrics = trainer.callback_metrics();
    const auto to_tensor = [](const std::vector<double>& values) {
      return torch::tensor(values, torch::kFloat64);
    };
    save_safetensors(
        folder / std::to_string(rank),
        {{{"gradients", to_tensor(model.gradients)},
          {"w", model.w.detach()},
          {"metrics", to_tensor({metrics.at("rows_step"), metrics.at("rows_epoch"), metrics.at("most")})},
          {"counts", to_tensor({static_cast<double>(model.batches), static_cast<double>(model.without),
                                static_cast<double>(trainer.global_step())})}},
         {}});
  });
  REQUIRE(codes == std::vector<int>(rows.size(), 0));
  Numbers all;
  for (int rank = 0; rank < world; ++rank)
    for (const auto& [name, tensor] : load_safetensors(folder / std::to_string(rank)).tensors)
      all[name + std::to_string(rank)] =
          std::vector<double>(tensor.data_ptr<double>(), tensor.data_ptr<double>() + tensor.numel());
  return all;
}

}  // namespace

TEST_CASE("join: every row is learned once, and the ranks stay equal", "[integration][ddp][join]") {
  // Rank 0 has 0 1 2, rank 1 has 10 11 12 13 14.
  const auto seen = train({3, 5}, {.join = JoinOptions{}});
  CHECK(seen.at("gradients0") == std::vector<double>{5, 6, 7, 6.5, 7});
  CHECK(seen.at("gradients1") == seen.at("gradients0"));
  CHECK(seen.at("w0") == seen.at("w1"));
  CHECK(seen.at("counts0") == std::vector<double>{3, 2, 5});
  CHECK(seen.at("counts1") == std::vector<double>{5, 0, 5});
  // Metrics are of the rows that there are.
  CHECK(seen.at("metrics0") == std::vector<double>{14, (0 + 1 + 2 + 10 + 11 + 12 + 13 + 14) / 8.0, 14});
  CHECK(seen.at("metrics1") == seen.at("metrics0"));
  // The first rank may be the longest, and there may be three of them.
  const auto three = train({4, 2, 1}, {.join = JoinOptions{}});
  CHECK(three.at("gradients2") == std::vector<double>{10, 4, 2.0 / 3, 1});
  CHECK(three.at("w0") == three.at("w2"));
}

TEST_CASE("join: gradients can be divided by the ranks that have a batch", "[integration][ddp][join]") {
  const auto seen = train({3, 5}, {.join = JoinOptions{.divide_by_initial_world_size = false}});
  CHECK(seen.at("gradients0") == std::vector<double>{5, 6, 7, 13, 14});
  CHECK(seen.at("w0") == seen.at("w1"));
}

TEST_CASE("join: with accumulation, unused parameters, and views of buckets", "[integration][ddp][join]") {
  // Windows of two batches: (0 + 1 + 10 + 11) / 2 / 2, (2 + 12 + 13) / 2 / 2, 14 / 2 / 2
  const TrainerOptions accumulated{.accumulate_grad_batches = 2};
  const auto seen = train({3, 5}, {.join = JoinOptions{}}, accumulated);
  CHECK(seen.at("gradients0") == std::vector<double>{5.5, 6.75, 3.5});
  CHECK(seen.at("gradients1") == seen.at("gradients0"));
  CHECK(seen.at("w0") == seen.at("w1"));
  const auto unused = train({3, 5}, {.find_unused_parameters = true, .join = JoinOptions{}}, {}, 1, true);
  CHECK(unused.at("gradients0") == std::vector<double>{5, 6, 7, 6.5, 7});
  const auto views = train({3, 5}, {.gradient_as_bucket_view = true, .join = JoinOptions{}});
  CHECK(views.at("gradients0") == std::vector<double>{5, 6, 7, 6.5, 7});
  const auto hook = train({3, 5}, {.ddp_comm_hook = comm_hooks::allreduce(), .join = JoinOptions{}});
  CHECK(hook.at("gradients0") == std::vector<double>{5, 6, 7, 6.5, 7});
}

TEST_CASE("join: several epochs, and a run that resumes where a rank has no batch",
          "[integration][ddp][join]") {
  const auto whole = train({3, 5}, {.join = JoinOptions{}}, {.max_epochs = 2});
  CHECK(whole.at("gradients0") == std::vector<double>{5, 6, 7, 6.5, 7, 5, 6, 7, 6.5, 7});
  const Folder folder;
  for (const std::int64_t stop : {2, 4}) {
    const auto checkpoint = folder / std::to_string(stop);
    REQUIRE(run_ranks(2, [&](int rank) {
              const auto loader =
                  DataLoader(std::make_shared<Rows>(std::vector<std::int64_t>{3, 5}), {.batch_size = 1});
              const DDPStrategy strategy({.join = JoinOptions{}});
              Sums first, second;
              Trainer stops(quiet({.max_epochs = 2, .max_steps = stop, .strategy = strategy}));
              stops.fit(first, loader);
              stops.save_checkpoint(checkpoint);
              Trainer goes_on(quiet({.max_epochs = 2, .strategy = strategy}));
              goes_on.fit(second, loader, {}, checkpoint);
              save_safetensors(folder / std::to_string(rank), {{{"w", second.w.detach()}}, {}});
            }) == kBothEnded);
    INFO("stopped after " << stop);
    for (const std::string rank : {"0", "1"})
      CHECK(load_safetensors(folder / rank).tensors.at("w").item<double>() == whole.at("w" + rank).front());
  }
}

TEST_CASE("join: buffers are those of a rank that has a batch, also in a checkpoint",
          "[integration][ddp][join]") {
  struct Counts : Sums {
    torch::Tensor count = register_buffer("count", torch::zeros({1}, torch::kFloat64));
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      count += 1;
      return Sums::training_step(batch, i);
    }
  };
  const Folder folder;
  REQUIRE(
      run_ranks(2, [&](int rank) {
        Counts model;
        Trainer trainer(quiet({.max_epochs = 1,
                               .strategy = DDPStrategy({.join = JoinOptions{}}),
                               .callbacks = {LambdaCallback(
                                   {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                              const Batch&, std::int64_t) {
                                     if (t.global_step() == 3) t.save_checkpoint(folder / "third");
                                   }})}}));
        trainer.fit(model,
                    DataLoader(std::make_shared<Rows>(std::vector<std::int64_t>{2, 4}), {.batch_size = 1}));
        save_safetensors(folder / std::to_string(rank), {{{"count", model.count}}, {}});
      }) == kBothEnded);
  CHECK(load_safetensors(folder / "third/model.safetensors").tensors.at("count").item<double>() == 3);
  CHECK(load_safetensors(folder / "0").tensors.at("count").item<double>() == 4);
  CHECK(load_safetensors(folder / "1").tensors.at("count").item<double>() == 4);
}

TEST_CASE("join: what it cannot do is refused on every rank", "[integration][ddp][join]") {
  const auto refused = [](const std::vector<std::int64_t>& rows, const JoinOptions& join,
                          TrainerOptions options, const std::string& words) {
    std::vector<std::string> failures;
    const auto codes = run_ranks(
        2,
        [&](int) {
          Sums model;
          auto own = options;
          own.max_epochs = 1;
          own.strategy = DDPStrategy({.join = join});
          Trainer trainer(quiet(std::move(own)));
          trainer.fit(model, DataLoader(std::make_shared<Rows>(rows), {.batch_size = 1}));
        },
        &failures);
    CHECK(codes == std::vector<int>{3, 3});
    for (const auto& text : failures) CHECK_THAT(text, Catch::Contains(words));
  };
  refused({3, 5}, {.throw_on_early_termination = true}, {},
          "after 3 batches of epoch 0, ended on rank 0; more to come on rank 1 (throw_on_early_termination)");
  refused({0, 5}, {}, {}, "DDPOptions::join needs a batch of each rank");
  refused({3, 5}, {}, {.sync_batchnorm = true}, "sync_batchnorm is true");
}
