// Types and losses of each precision against Lightning: tests/golden/precision, made by g_precision.py there.
#include "tests/support/golden.h"
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace precision_golden_test {

using namespace rtrain;
using rtrain::test::det;
using rtrain::test::quiet;

namespace {

std::string type_of(const torch::Tensor& tensor) {
  static const std::map<torch::ScalarType, std::string> names{{torch::kFloat32, "torch.float32"},
                                                              {torch::kFloat64, "torch.float64"},
                                                              {torch::kBFloat16, "torch.bfloat16"},
                                                              {torch::kHalf, "torch.float16"},
                                                              {torch::kInt64, "torch.int64"}};
  return names.at(tensor.scalar_type());
}
std::string autocast() { return at::autocast::is_autocast_enabled(at::kCPU) ? "True" : "False"; }

struct Classifier : LightningModule {
  torch::nn::Sequential net =
      register_module("net", torch::nn::Sequential(torch::nn::Linear(4, 8),
                                                   torch::nn::LayerNorm(torch::nn::LayerNormOptions({8})),
                                                   torch::nn::ReLU(), torch::nn::Linear(8, 3)));
  std::shared_ptr<Optimizer> optimizer;
  std::vector<std::string> seen;
  std::vector<double> losses;

  Classifier() {
    const torch::NoGradGuard no_grad;
    std::int64_t k = 0;
    for (auto& p : net->parameters()) p.copy_(det(p.sizes().vec(), 13 * k++ + 1));
  }
  torch::Tensor weight() { return net[0]->as<torch::nn::Linear>()->weight; }

  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    const auto h = net->forward(batch.input);
    auto loss = torch::nn::functional::cross_entropy(h, batch.target);
    if (i == 0) {
      seen.push_back("input " + type_of(batch.input) + " labels " + type_of(batch.target) + " logits " +
                     type_of(h) + " loss " + type_of(loss) + " new tensor " + type_of(torch::zeros(1)) +
                     " softmax " + type_of(torch::softmax(h, 1)) + " matmul " + type_of(h.t().matmul(h)) +
                     " sum " + type_of(h.sum()) + " autocast " + autocast());
    }
    losses.push_back(loss.item<double>());
    return loss;
  }
  void on_before_backward(const torch::Tensor& loss) override {
    if (losses.size() == 1) seen.push_back("hook loss " + type_of(loss) + " autocast " + autocast());
  }
  void on_before_optimizer_step(Optimizer&) override {
    if (losses.size() == 1)
      seen.push_back("grad " + type_of(weight().grad()) + " param " + type_of(weight()));
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
    const auto h = net->forward(batch.input);
    if (i == 0) seen.push_back("validation logits " + type_of(h));
    return h;
  }
  Optimizers configure_optimizers() override {
    optimizer = optim::Adam(parameters(), {.lr = 0.01});
    return optimizer;
  }
};

/// "precision='bf16-mixed': ..." or "precision=16: ..."
AnyPrecision precision_of(const std::string& title) {
  const auto given = title.substr(10, title.find(':') - 10);
  if (given.front() == '\'') return given.substr(1, given.size() - 2);
  return std::stoi(given);
}

/// The kernels of an optimizer round bfloat16 in other places than the loops of Python.
double tolerance_of(const std::string& precision) {
  if (precision == "32-true") return 2e-6;
  if (precision == "64-true") return 1e-8;
  return precision == "bf16-mixed" ? 4e-4 : 1.0 / 64;
}

}  // namespace

TEST_CASE("precision: types and losses are Lightning's", "[unit][precision]") {
  const auto sections = test::golden_sections("precision/precision.txt");
  REQUIRE(sections.size() == 10);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 32; ++i) labels.push_back((i * 7 + i / 5) % 3);
  const DataLoader loader(
      data::TensorDataset(det({32, 4}, 1).to(torch::kFloat32) * 2, torch::tensor(labels, torch::kInt64)),
      {.batch_size = 4, .num_workers = 0});
  for (const auto& section : sections) {
    INFO(section.title);
    const test::Heard heard;
    Classifier model;
    Trainer trainer(
        quiet({.max_epochs = 1, .num_sanity_val_steps = 0, .precision = precision_of(section.title)}));
    trainer.fit(model, loader, loader);
    CHECK(section.title.find(" precision " + trainer.precision() + " scaler") != std::string::npos);

    for (const auto& line : model.seen) {
      INFO(line);
      CHECK(std::find(section.lines.begin(), section.lines.end(), line) != section.lines.end());
    }
    CHECK(model.seen.size() == 4);
    CHECK(section.lines.back() ==
          "Adam state " + type_of(model.optimizer->state_dict().tensors.at("net.0.weight.exp_avg")) +
              " parameters after fit " + type_of(model.weight()));
    std::vector<double> losses;
    for (const auto& line : section.lines)
      if (line.starts_with("loss ")) losses.push_back(std::stod(line.substr(5)));
    REQUIRE(model.losses.size() == losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
      INFO("loss " << i << ": " << model.losses[i] << ", Lightning " << losses[i]);
      // Adam's eps is 0 in float16, so that Lightning's parameters are NaN after a step; the fused kernel
      // computes in float32.
      if (trainer.precision() == "16-true" && i > 0)
        CHECK(std::isfinite(model.losses[i]));
      else
        CHECK(std::abs(model.losses[i] - losses[i]) <= tolerance_of(trainer.precision()));
    }
    const bool for_gpus =
        section.title.starts_with("precision=16:") || section.title.starts_with("precision='16-mixed'");
    CHECK((heard.text().find("\"16-mixed\" is for GPUs") != std::string::npos) == for_gpus);
    CHECK((heard.text().find("so write that") != std::string::npos) ==
          (section.title.starts_with("precision=16:") || section.title.starts_with("precision='bf16':")));
  }
}

}  // namespace precision_golden_test
