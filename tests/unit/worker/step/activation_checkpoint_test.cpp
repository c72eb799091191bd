#include "tests/support/catch.h"

#include <rtrain/activation_checkpoint.h>
#include <rtrain/amp.h>

#include <torch/torch.h>

namespace activation_checkpoint_test {

using Catch::Matchers::Contains;
using rtrain::checkpoint;

namespace {

using Tensors = std::vector<torch::Tensor>;

struct Block : torch::nn::Module {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(6, 12)),
                    b = register_module("b", torch::nn::Linear(12, 6));
  torch::nn::Dropout drop = register_module("drop", torch::nn::Dropout(0.5));
  int calls = 0;
  torch::Tensor forward(const torch::Tensor& x) {
    ++calls;
    return x + b(drop(torch::relu(a(x))));
  }
};

/// Gradients of the parameters and of the input.
Tensors gradients(bool checkpointed, bool input_has_gradient = true) {
  torch::manual_seed(5);
  Block block;
  block.to(torch::kFloat64);
  auto x = torch::randn({4, 6}, torch::kFloat64).requires_grad_(input_has_gradient);
  const auto forward = [&](const torch::Tensor& in) { return block.forward(in); };
  auto y = checkpointed ? checkpoint(forward, x) : forward(x);
  y = checkpointed ? checkpoint(forward, y) : forward(y);
  y.square().sum().backward();
  CHECK(block.calls == (checkpointed ? 4 : 2));
  Tensors result;
  for (const auto& parameter : block.parameters()) result.push_back(parameter.grad());
  if (input_has_gradient) result.push_back(x.grad());
  result.push_back(torch::rand({3}));  // where the generator stands
  return result;
}

void check_equal(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(torch::equal(a[i], b[i]));
}

}  // namespace

TEST_CASE("checkpoint: gradients and random numbers are those without it", "[step]") {
  check_equal(gradients(true), gradients(false));
}

TEST_CASE("checkpoint: parameters have gradients when no input has one", "[step]") {
  check_equal(gradients(true, false), gradients(false, false));
}

TEST_CASE("checkpoint: several inputs and outputs, of which some have no gradient", "[step]") {
  auto x = torch::randn({3}).requires_grad_(true), w = torch::randn({3}).requires_grad_(true);
  const auto scale = torch::tensor({1, 2, 3});  // integers have no gradient
  const auto out =
      checkpoint([&](const Tensors& in) { return Tensors{in[0] * in[1] * in[2], in[2] + 1, in[0].sin()}; },
                 Tensors{x, w, scale});
  (out[0].sum() + out[2].sum()).backward();
  CHECK(torch::allclose(x.grad(), w * scale + x.cos()));
  CHECK(torch::allclose(w.grad(), x * scale));
}

TEST_CASE("checkpoint: the second run is under the autocast of the first", "[step]") {
  auto x = torch::randn({4, 8}).requires_grad_(true);
  const auto w = torch::randn({8, 8});
  std::vector<torch::ScalarType> types;
  torch::Tensor y;
  {
    const rtrain::AutocastScope scope(torch::kCPU, torch::kBFloat16);
    y = checkpoint(
        [&](const torch::Tensor& in) {
          auto product = in.mm(w);
          types.push_back(product.scalar_type());
          return product;
        },
        x);
  }
  y.sum().backward();
  CHECK(types == std::vector<torch::ScalarType>{torch::kBFloat16, torch::kBFloat16});
}

TEST_CASE("checkpoint: without gradients the function runs once and keeps nothing", "[step]") {
  const torch::NoGradGuard no_grad;
  int calls = 0;
  const auto y = checkpoint(
      [&](const torch::Tensor& x) {
        ++calls;
        return x * 2;
      },
      torch::ones({2}));
  CHECK(calls == 1);
  CHECK_FALSE(y.requires_grad());
}

TEST_CASE("checkpoint: an error of the second run leaves backward", "[step]") {
  auto x = torch::ones({2}).requires_grad_(true);
  int calls = 0;
  const auto y = checkpoint(
      [&](const torch::Tensor& in) {
        if (++calls == 2) throw std::runtime_error("no second time");
        return in * 2;
      },
      x);
  CHECK_THROWS_WITH(y.sum().backward(), Contains("no second time"));
  CHECK_THROWS_AS(checkpoint(rtrain::CheckpointedFunction(), Tensors{x}), std::invalid_argument);
}

}  // namespace activation_checkpoint_test
