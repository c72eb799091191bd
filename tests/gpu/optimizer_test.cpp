// The fused kernels against torch::optim, which does the same a small operation at a time.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"

#include <functional>
#include <vector>

using namespace rtrain;
using rtrain::test::device;

namespace {

using Tensors = std::vector<torch::Tensor>;
using Reference = std::shared_ptr<torch::optim::Optimizer>;

struct Pair {
  std::string name;
  std::function<std::shared_ptr<Optimizer>(Tensors)> fused;
  std::function<Reference(Tensors)> plain;
  double sign = 1;  ///< -1: maximize, which the reference gets as negated gradients
};

Reference adam(const Tensors& p, const torch::optim::AdamOptions& options) {
  return std::make_shared<torch::optim::Adam>(p, options);
}
Reference adamw(const Tensors& p, const torch::optim::AdamWOptions& options) {
  return std::make_shared<torch::optim::AdamW>(p, options);
}
Reference sgd(const Tensors& p, const torch::optim::SGDOptions& options) {
  return std::make_shared<torch::optim::SGD>(p, options);
}

std::vector<Pair> pairs() {
  using AdamO = torch::optim::AdamOptions;
  using AdamWO = torch::optim::AdamWOptions;
  using SGDO = torch::optim::SGDOptions;
  return {
      {"Adam", [](Tensors p) { return optim::Adam(p, {.lr = 0.01}); },
       [](Tensors p) { return adam(p, AdamO(0.01)); }},
      {"Adam, weight_decay, amsgrad",
       [](Tensors p) {
         return optim::Adam(p, {.lr = 0.01, .beta1 = 0.8, .weight_decay = 0.1, .amsgrad = true});
       },
       [](Tensors p) { return adam(p, AdamO(0.01).betas({0.8, 0.999}).weight_decay(0.1).amsgrad(true)); }},
      {"Adam, maximize", [](Tensors p) { return optim::Adam(p, {.lr = 0.01, .maximize = true}); },
       [](Tensors p) { return adam(p, AdamO(0.01)); }, -1},
      {"AdamW", [](Tensors p) { return optim::AdamW(p, {.lr = 0.01, .weight_decay = 0.1}); },
       [](Tensors p) { return adamw(p, AdamWO(0.01).weight_decay(0.1)); }},
      {"AdamW, amsgrad",
       [](Tensors p) { return optim::AdamW(p, {.lr = 0.01, .eps = 1e-6, .amsgrad = true}); },
       [](Tensors p) { return adamw(p, AdamWO(0.01).eps(1e-6).weight_decay(0.01).amsgrad(true)); }},
      {"SGD", [](Tensors p) { return optim::SGD(p, {.lr = 0.1}); },
       [](Tensors p) { return sgd(p, SGDO(0.1)); }},
      {"SGD, momentum, dampening, weight_decay",
       [](Tensors p) {
         return optim::SGD(p, {.lr = 0.1, .momentum = 0.9, .dampening = 0.2, .weight_decay = 0.01});
       },
       [](Tensors p) { return sgd(p, SGDO(0.1).momentum(0.9).dampening(0.2).weight_decay(0.01)); }},
      {"SGD, nesterov, maximize",
       [](Tensors p) {
         return optim::SGD(p, {.lr = 0.1, .momentum = 0.9, .nesterov = true, .maximize = true});
       },
       [](Tensors p) { return sgd(p, SGDO(0.1).momentum(0.9).nesterov(true)); }, -1},
  };
}

/// Sizes that fill a block of the kernel, that do not, and memory in another order.
Tensors parameters(torch::ScalarType type) {
  torch::manual_seed(1);
  Tensors all{torch::randn({33, 17}), torch::randn({}), torch::randn({70'001}),
              torch::randn({16, 3, 7, 7}).contiguous(torch::MemoryFormat::ChannelsLast)};
  for (auto& p : all) p = p.to(device(), type).set_requires_grad(true);
  return all;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs() / (1 + b.abs())).max().item<double>();
}

}  // namespace

TEST_CASE("gpu: fused optimizers do what torch::optim does", "[gpu][optim]") {
  const std::vector<std::pair<torch::ScalarType, double>> types{{torch::kDouble, 1e-10},
                                                                {torch::kFloat, 2e-5}};
  for (const auto& [type, tolerance] : types) {
    for (const auto& pair : pairs()) {
      const auto mine = parameters(type), theirs = parameters(type);
      const auto fused = pair.fused(mine);
      const auto plain = pair.plain(theirs);
      for (int step = 0; step < 12; ++step) {
        torch::manual_seed(100 + step);
        for (std::size_t i = 0; i < mine.size(); ++i) {
          const auto gradient = torch::randn(mine[i].sizes()).to(device(), type);
          mine[i].mutable_grad() = gradient.clone();
          theirs[i].mutable_grad() = (gradient * pair.sign).clone();
        }
        fused->step();
        plain->step();
      }
      for (std::size_t i = 0; i < mine.size(); ++i) {
        INFO(pair.name << ", " << c10::toString(type) << ", parameter " << i);
        CHECK(mine[i].device().type() == device().type());
        CHECK(distance(mine[i], theirs[i]) < tolerance);
      }
    }
  }
}

TEST_CASE("gpu: the state of an optimizer lies where its parameters are, and goes to the CPU and back",
          "[gpu][optim]") {
  for (const auto& pair : pairs()) {
    INFO(pair.name);
    const auto mine = parameters(torch::kFloat);
    const auto optimizer = pair.fused(mine);
    for (const auto& p : mine) p.mutable_grad() = torch::ones_like(p);
    optimizer->step();
    auto saved = optimizer->state_dict();
    for (auto& [name, piece] : saved.tensors) {
      CHECK(piece.tensor.device().type() == device().type());
      piece.tensor = piece.tensor.to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true);
    }
    const auto again = pair.fused(mine);
    again->load_state_dict(saved);
    for (const auto& [name, piece] : again->state_dict().tensors) {
      CHECK(piece.tensor.device().type() == device().type());
      CHECK(torch::equal(piece.tensor.cpu(), saved.tensors.at(name)));
    }
  }
}
