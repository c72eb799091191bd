// SparseAdam against torch.optim's (tests/golden/optim/sparse_adam.txt).
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

#include <sstream>

namespace sparse_adam_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::det;

TEST_CASE("SparseAdam: torch's weights, row by row", "[optim]") {
  const std::map<std::string, optim::SparseAdamOptions> cases{
      {"SparseAdam", {.lr = 0.01}},
      {"SparseAdam maximize", {.lr = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .maximize = true}}};
  std::size_t met = 0;
  for (const auto& section : rtrain::test::golden_sections("optim/sparse_adam.txt")) {
    INFO(section.title);
    ++met;
    torch::nn::Embedding table(torch::nn::EmbeddingOptions(5, 2).sparse(true));
    table->to(torch::kDouble);
    {
      const torch::NoGradGuard no_grad;
      table->weight.copy_(det({5, 2}, 0));
    }
    const auto adam = optim::SparseAdam(table->parameters(), cases.at(section.title));
    std::size_t step = 0;
    for (const std::vector<std::int64_t>& rows :
         std::vector<std::vector<std::int64_t>>{{0, 1, 1}, {3}, {1, 4}, {0, 1, 2, 3, 4}, {2, 2}}) {
      adam->zero_grad();
      const auto picked = table(torch::tensor(rows, torch::kInt64));
      (picked - det({static_cast<std::int64_t>(rows.size()), 2}, 3)).square().sum().backward();
      adam->step();
      std::istringstream in(section.lines[step++]);
      std::vector<double> expected;
      for (double value = 0; in >> value;) expected.push_back(value);
      CHECK(
          torch::allclose(table->weight, torch::tensor(expected, torch::kDouble).reshape({5, 2}), 0, 1e-12));
    }
    CHECK(adam->state_dict().tensors.size() == 3);
  }
  CHECK(met == cases.size());
}

TEST_CASE("SparseAdam: dense gradients are refused, and others refuse sparse ones", "[optim]") {
  auto p = torch::zeros({3, 2}, torch::requires_grad());
  const auto adam = optim::SparseAdam({p});
  p.mutable_grad() = torch::ones({3, 2});
  CHECK_THROWS_WITH(adam->step(), Contains("it takes sparse gradients only"));
  p.mutable_grad() = torch::ones({3, 2}).to_sparse(1);
  CHECK_THROWS_WITH(optim::AdamW({p})->step(), Contains("SparseAdam takes them"));
}

}  // namespace sparse_adam_test
