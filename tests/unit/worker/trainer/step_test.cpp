// One optimizer step: parameters that occur twice, sparse gradients, losses that are no numbers.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <iostream>
#include <limits>
#include <sstream>

namespace step_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::quiet;

namespace {

/// What is written to stderr meanwhile.
class Captured {
 public:
  Captured() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~Captured() { std::cerr.rdbuf(before_); }
  [[nodiscard]] std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

/// Plain gradient descent, also along sparse gradients.
struct Descent : Optimizer {
  using Optimizer::Optimizer;
  void step(const StepInputs&) override {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : parameters_) {
      if (parameter.grad().defined()) parameter.add_(parameter.grad(), -1);
    }
  }
};

struct Words : LightningModule {
  torch::nn::Embedding words;
  explicit Words(bool sparse)
      : words(register_module("words",
                              torch::nn::Embedding(torch::nn::EmbeddingOptions(10, 4).sparse(sparse)))) {}
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return words(batch.input).square().sum();
  }
  Optimizers configure_optimizers() override { return std::make_shared<Descent>(parameters()); }
};

}  // namespace

TEST_CASE("step: a layer in two places of the model is stepped and clipped once", "[unit][trainer][F06]") {
  struct Shared : LightningModule {
    torch::nn::Linear fc = torch::nn::Linear(32, 32);
    torch::nn::Sequential twice{nullptr};
    bool lists_twice;
    explicit Shared(bool lists) : lists_twice(lists) {
      torch::manual_seed(1);
      fc = torch::nn::Linear(32, 32);
      if (lists_twice)
        twice = register_module("twice", torch::nn::Sequential(fc, torch::nn::Tanh(), fc));
      else
        register_module("fc", fc);
    }
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return fc(torch::tanh(fc(batch.input))).square().mean();
    }
    Optimizers configure_optimizers() override {
      return optim::AdamW(parameters(), {.lr = 0.1, .weight_decay = 0.1});
    }
  };
  const auto loader = boring_loader(8, 2);
  const auto trained = [&](bool lists_twice) {
    Shared model(lists_twice);
    Trainer trainer(quiet({.max_epochs = 1, .gradient_clip_val = 0.01}));
    trainer.fit(model, loader);
    return model.fc->weight.detach().clone();
  };
  CHECK(torch::equal(trained(true), trained(false)));
  const Shared model(true);
  CHECK(model.parameters().size() == 4);
  CHECK(optim::SGD(model.parameters())->parameters().size() == 2);
}

TEST_CASE("step: sparse gradients are clipped as the dense ones are", "[unit][trainer][F39]") {
  const auto data = data::TensorDataset(torch::tensor({{1, 2, 2}, {3, 1, 9}}), torch::zeros({2}));
  for (const std::string algorithm : {"norm", "value"}) {
    INFO(algorithm);
    const auto trained = [&](bool sparse) {
      torch::manual_seed(2);
      Words model(sparse);
      Trainer trainer(
          quiet({.max_epochs = 2, .gradient_clip_val = 0.5, .gradient_clip_algorithm = algorithm}));
      trainer.fit(model, DataLoader(data, {.batch_size = 2}));
      return model.words->weight.detach().clone();
    };
    CHECK(torch::allclose(trained(true), trained(false), 1e-6, 1e-7));
  }
}

TEST_CASE("step: a loss that is NaN or infinite is said once, with its place", "[unit][trainer]") {
  const auto type = GENERATE(torch::kFloat32, torch::kFloat64, torch::kBFloat16);
  struct Diverges : BoringModel {
    torch::ScalarType of_loss;
    explicit Diverges(torch::ScalarType given) : of_loss(given) {}
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      const auto loss = loss_of(batch).to(of_loss);
      return i >= 2 ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
    }
  } model(type);
  const Captured captured;
  Trainer trainer(quiet({.max_epochs = 2}));
  trainer.fit(model, boring_loader(4));
  CHECK_THAT(captured.text(), Catch::Contains("the loss is nan on rank 0 in epoch 0, batch 2"));
  CHECK(captured.text().find("the loss is") == captured.text().rfind("the loss is"));
}

TEST_CASE("step: a buffer that checkpoints cannot hold is refused before the first step", "[unit][trainer]") {
  struct Complex : BoringModel {
    torch::Tensor phase = register_buffer("phase", torch::zeros({2}, torch::kComplexDouble));
    int steps = 0;
    StepOutput training_step(const Batch& batch, std::int64_t) override { return ++steps, loss_of(batch); }
  };
  const test::Folder folder;
  Complex model;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {ModelCheckpoint({.dirpath = folder.path()})}}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Catch::Contains("phase is ComplexDouble") && Catch::Contains("view_as_real"));
  CHECK(model.steps == 0);
  Trainer without(quiet({.max_epochs = 1}));
  without.fit(model, boring_loader(2));
  CHECK(model.steps == 2);
}

}  // namespace step_test
