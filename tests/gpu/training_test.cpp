// The Trainer on the device: clipping, checkpoints between devices, the same bits twice, memory that is not
// there.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"
#include "tests/support/training.h"

using namespace rtrain;
using rtrain::test::device;
using rtrain::test::on_cuda;
using rtrain::test::on_device;

namespace {

using State = std::map<std::string, torch::Tensor>;

/// Convolution, batch norm, dropout and Adam: everything that a place in training consists of.
struct Net : LightningModule {
  explicit Net(double dropped) : dropout(register_module("dropout", torch::nn::Dropout(dropped))) {}
  torch::nn::Conv2d first =
      register_module("first", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).bias(false)));
  torch::nn::BatchNorm2d norm = register_module("norm", torch::nn::BatchNorm2d(8));
  torch::nn::Dropout dropout;
  torch::nn::Linear second = register_module("second", torch::nn::Linear(8 * 6 * 6, 3));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    CHECK(batch.input.device().type() == second->weight.device().type());
    const auto features = torch::relu(norm(first(batch.input))).flatten(1);
    return torch::nn::functional::cross_entropy(second(dropout(features)), batch.target);
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

DataLoader images() {
  torch::manual_seed(11);
  return {data::TensorDataset(torch::randn({48, 1, 8, 8}), torch::randint(3, {48})),
          {.batch_size = 8, .shuffle = true, .pin_memory = on_cuda(), .seed = 3}};
}

State state_of(const torch::nn::Module& net) {
  State state;
  for (const auto& item : net.named_parameters())
    state.emplace(item.key(), item.value().detach().cpu().clone());
  for (const auto& item : net.named_buffers()) state.emplace(item.key(), item.value().cpu().clone());
  return state;
}

bool same_bits(const State& a, const State& b) {
  for (const auto& [name, tensor] : a) {
    if (!torch::equal(tensor, b.at(name))) return false;
  }
  return a.size() == b.size();
}

/// The mean over all numbers. A single one may go another way: Adam makes a step of noise where there is no
/// gradient.
double distance(const State& a, const State& b) {
  double sum = 0, count = 0;
  for (const auto& [name, tensor] : a) {
    sum += (tensor.to(torch::kDouble) - b.at(name).to(torch::kDouble)).abs().sum().item<double>();
    count += static_cast<double>(tensor.numel());
  }
  return sum / count;
}

struct Run {
  double dropout = 0.3;
  std::int64_t steps = 10;  ///< into the second epoch
  bool gpu = on_cuda();
  std::filesystem::path from{}, to{};  ///< checkpoints
};

/// @return weights and buffers at the end.
State train(const Run& run) {
  const auto data = images();
  Trainer trainer(on_device({.max_epochs = -1, .max_steps = run.steps, .seed = 7}, run.gpu));
  seed_everything(7);
  Net net(run.dropout);
  trainer.fit(net, data, {}, run.from);
  if (!run.to.empty()) trainer.save_checkpoint(run.to);
  return state_of(net);
}

/// While it lives, an operation that could give other bits each time is refused.
class OnlyDeterministic {
 public:
  OnlyDeterministic() {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(true);
  }
  ~OnlyDeterministic() {
    at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(false);
  }
  OnlyDeterministic(const OnlyDeterministic&) = delete;
  OnlyDeterministic& operator=(const OnlyDeterministic&) = delete;
};

/// While it lives, convolutions of a GPU have the precision of those of a CPU.
class WithoutTF32 {
 public:
  WithoutTF32() : before_(at::globalContext().allowTF32CuDNN()) {
    at::globalContext().setAllowTF32CuDNN(false);
  }
  ~WithoutTF32() { at::globalContext().setAllowTF32CuDNN(before_); }
  WithoutTF32(const WithoutTF32&) = delete;
  WithoutTF32& operator=(const WithoutTF32&) = delete;

 private:
  bool before_;
};

/// Its gradients are `gradients`, whatever the batch.
struct Pulled : LightningModule {
  explicit Pulled(std::vector<torch::Tensor> wanted) : gradients(std::move(wanted)) {
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      weights.push_back(register_parameter("w" + std::to_string(i), torch::zeros_like(gradients[i])));
    }
  }
  StepOutput training_step(const Batch&, std::int64_t) override {
    auto loss = torch::zeros({}, weights[0].options().requires_grad(false));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      loss = loss + (weights[i] * gradients[i].to(weights[i].device())).sum();
    }
    return loss;
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 1}); }
  std::vector<torch::Tensor> gradients, weights;
};

}  // namespace

TEST_CASE("gpu: gradients are clipped by norm and by value", "[gpu][trainer]") {
  torch::manual_seed(5);
  const std::vector<torch::Tensor> gradients{torch::randn({40, 3}), torch::randn({7}),
                                             torch::randn({1000}) * 10};
  const auto norm = torch::cat({gradients[0].flatten(), gradients[1], gradients[2]}).norm().item<double>();
  const DataLoader one_step(data::TensorDataset(torch::zeros({1, 1})), {.batch_size = 1});
  struct Case {
    std::string algorithm;
    double limit;
    std::function<torch::Tensor(torch::Tensor)> clipped;
  };
  const std::vector<Case> cases{
      {"norm", 2.5, [&](const torch::Tensor& g) { return g * (2.5 / norm); }},
      {"norm", 2 * norm, [](const torch::Tensor& g) { return g; }},
      {"value", 0.5, [](const torch::Tensor& g) { return g.clamp(-0.5, 0.5); }},
  };
  for (const auto& c : cases) {
    INFO(c.algorithm << " " << c.limit);
    Pulled net(gradients);
    Trainer trainer(
        on_device({.max_epochs = 1, .gradient_clip_val = c.limit, .gradient_clip_algorithm = c.algorithm}));
    trainer.fit(net, one_step);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      CHECK(torch::allclose(-net.parameters()[i].detach().cpu(), c.clipped(gradients[i]), 1e-4, 1e-6));
    }
  }
}

TEST_CASE("gpu: a run twice gives the same bits, and so does one that was resumed", "[gpu][trainer]") {
  const OnlyDeterministic deterministic;
  const test::Folder folder;
  const auto straight = train({});
  CHECK(same_bits(train({}), straight));
  // In the middle of the first epoch, and of the second.
  for (const std::int64_t step : {4, 8}) {
    INFO("resumed at step " << step);
    const auto path = folder / ("at-" + std::to_string(step));
    (void)train({.steps = step, .to = path});
    CHECK(same_bits(train({.from = path}), straight));
  }
}

TEST_CASE("gpu: a checkpoint of the device resumes on the CPU, and back", "[gpu][trainer]") {
  const WithoutTF32 precise;
  const test::Folder folder;
  // Without dropout: random numbers of a GPU are others than those of a CPU.
  const auto straight = train({.dropout = 0});
  const std::vector<std::pair<bool, bool>> ways{{on_cuda(), false}, {false, on_cuda()}};
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const auto [writes, resumes] = ways[i];
    INFO("from " << (writes ? "GPU" : "CPU") << " to " << (resumes ? "GPU" : "CPU"));
    const auto path = folder / std::to_string(i);
    const auto saved = train({.dropout = 0, .steps = 4, .gpu = writes, .to = path});
    // No step more: what was read has the bits that were written.
    CHECK(same_bits(train({.dropout = 0, .steps = 4, .gpu = resumes, .from = path}), saved));
    CHECK(distance(train({.dropout = 0, .gpu = resumes, .from = path}), straight) < 1e-3);
    CHECK(distance(saved, straight) > 5e-3);  // what a step or two are worth
  }
}

TEST_CASE("gpu: memory that is not there is an error with sizes, and the device works on", "[gpu][trainer]") {
  if (!on_cuda()) {
    SUCCEED("a CPU swaps, or ends the process");
    return;
  }
  struct Greedy : Net {
    using Net::Net;
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      if (index == 1) held = torch::empty({std::int64_t{1} << 42}, batch.input.options().dtype(torch::kByte));
      return Net::training_step(batch, index);
    }
    torch::Tensor held;
  };
  Greedy net(0.0);
  std::string text;
  try {
    Trainer trainer(on_device({.max_epochs = 1}));
    trainer.fit(net, images());
  } catch (const c10::Error& error) {
    text = error.what_without_backtrace();
  }
  INFO(text);
  CHECK(text.find("out of memory") != std::string::npos);
  CHECK(text.find("4096.00 GiB") != std::string::npos);  // what was asked for
  CHECK(text.find("total capacity") != std::string::npos);
  CHECK(torch::ones({1000}, device()).sum().item<float>() == 1000);
}
