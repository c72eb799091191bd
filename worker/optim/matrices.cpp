// Optimizers that know matrices: Adafactor (Shazeer and Stern, arXiv 1804.04235) and Muon (Jordan et al.
// 2024, kellerjordan.github.io/posts/muon; the rate of kMatchRmsAdamW: Liu et al., arXiv 2502.16982).
#include "worker/optim/grouped.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace rtrain::optim {
namespace {

const Kind kAdafactor{"Adafactor",
                      {{"lr"},
                       {"beta2_decay", Range::kAtMost0},
                       {"eps1", Range::kAtLeast0, /*may_be_missing=*/true},
                       {"eps2"},
                       {"d", Range::kAtLeast1},
                       {"weight_decay"},
                       {"maximize"}}};

double epsilon_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return std::numeric_limits<double>::epsilon();
    case at::kHalf: return 0.0009765625;   // 2^-10
    case at::kBFloat16: return 0.0078125;  // 2^-7
    default: return std::numeric_limits<float>::epsilon();
  }
}

class FactoredVariance final : public Grouped {
 public:
  using Grouped::Grouped;
  [[nodiscard]] bool is_elementwise() const override { return false; }

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    if (p.dim() < 2) return ParameterState{{"step", host_number()}, {"variance", at::zeros_like(p)}};
    auto rows = p.sizes().vec(), columns = rows;
    rows.back() = 1;
    columns[columns.size() - 2] = 1;
    const auto options = p.options().requires_grad(false);
    return ParameterState{{"step", host_number()},
                          {"row_var", at::zeros(rows, options)},
                          {"col_var", at::zeros(columns, options)}};
  }

  /// v averages g^2, of a matrix as the product of a row and a column; u = g / sqrt(v), shortened to a root
  /// mean square of d; p -= max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    const double lr = option(o, "lr");
    for (const auto number : batch.numbers) (void)state_of(number, o);
    const auto steps = count_steps(batch);
    Tensors sizes;  // root mean squares, before the weight decay; as tensors, so that the host does not wait
    for (const auto& p : batch.parameters)
      sizes.push_back(p.norm() / std::sqrt(static_cast<double>(p.numel())));
    prepare(o, batch, true);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      auto& p = batch.parameters[i];
      const auto& g = batch.gradients[i];
      auto& state = state_[batch.numbers[i]];
      const double weight = std::pow(steps[i], option(o, "beta2_decay"));  // of the newest squares
      const auto missing = o.find("eps1") == o.end();
      const double eps1 = missing ? epsilon_of(p.scalar_type()) : option(o, "eps1");
      torch::Tensor variance;
      if (p.dim() < 2) {
        variance = state.at("variance").lerp_(g.square(), weight).clone();
      } else {
        auto& rows = state.at("row_var").lerp_(g.square().mean(-1, /*keepdim=*/true), weight);
        auto& columns = state.at("col_var").lerp_(g.square().mean(-2, /*keepdim=*/true), weight);
        variance = at::matmul(rows, columns).div_(rows.mean(-2, /*keepdim=*/true).clamp_min_(eps1));
      }
      auto step = variance.clamp_min_(eps1 * eps1).rsqrt_().mul_(g);
      const double root = std::sqrt(static_cast<double>(p.numel()));
      const auto too_long = (step.norm() / (root * option(o, "d"))).clamp_min_(1);
      const auto scale = sizes[i].clamp_min(option(o, "eps2")) * std::min(lr, 1 / std::sqrt(steps[i]));
      p.sub_(step.mul_(scale / too_long));
    }
  }
};

const Kind kMuon{"Muon",
                 {{"lr"},
                  {"weight_decay"},
                  {"momentum"},
                  {"nesterov"},
                  {"ns_a", Range::kAny},
                  {"ns_b", Range::kAny},
                  {"ns_c", Range::kAny},
                  {"eps"},
                  {"ns_steps", Range::kWhole},
                  {"match_rms_adamw"},
                  {"maximize"}},
                 [](const Options& o) -> std::string {
                   return option(o, "ns_steps") < 100 ? "" : "ns_steps must be below 100";
                 }};

class Orthogonal final : public Grouped {
 public:
  Orthogonal(std::vector<ParamGroup> groups, Options defaults)
      : Grouped(kMuon, std::move(groups), std::move(defaults)) {
    for (std::size_t i = 0; i < groups_.size(); ++i) check_group(groups_[i], place_of(i));
  }
  [[nodiscard]] bool is_elementwise() const override { return false; }

 protected:
  void check_group(const ParamGroup& group, const std::string& place) const override {
    Grouped::check_group(group, place);
    for (std::size_t i = 0; i < group.params.size(); ++i) {
      const auto& p = group.params[i];
      if (p.defined() && p.dim() != 2) {
        throw std::invalid_argument(
            place + ": parameter " + std::to_string(i) + " has shape " + c10::str(p.sizes()) +
            ", only matrices can be optimized: give the others to AdamW and join both with "
            "optim::Chain({muon, adamw})");
      }
    }
  }
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{{"momentum_buffer", at::zeros_like(p)}};
  }

  /// buf += (1 - momentum) (g - buf); p -= lr' orthogonalized(buf), or of g + momentum (buf - g) with
  /// nesterov.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch, true);
    const double momentum = option(o, "momentum");
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      auto& p = batch.parameters[i];
      const auto& g = batch.gradients[i];
      auto& buffer = state_of(batch.numbers[i], o).at("momentum_buffer");
      buffer.lerp_(g, 1 - momentum);
      const auto direction = orthogonalized(o, flag(o, "nesterov") ? g.lerp(buffer, momentum) : buffer);
      const auto rows = static_cast<double>(p.size(0)), columns = static_cast<double>(p.size(1));
      const double ratio = flag(o, "match_rms_adamw") ? 0.2 * std::sqrt(std::max(rows, columns))
                                                      : std::sqrt(std::max(1.0, rows / columns));
      p.add_(direction, -option(o, "lr") * ratio);
    }
  }

 private:
  /// Near to U V^T of the singular value decomposition U S V^T, by a Newton-Schulz iteration of degree 5.
  static torch::Tensor orthogonalized(const Options& o, const torch::Tensor& matrix) {
    auto x = matrix.to(at::kBFloat16);
    const bool is_tall = x.size(0) > x.size(1);
    if (is_tall) x = x.t();
    x = x / x.norm().clamp_min(option(o, "eps"));
    for (int i = 0; i < static_cast<int>(option(o, "ns_steps")); ++i) {
      const auto a = x.mm(x.t());
      const auto b = at::addmm(a, a, a, option(o, "ns_b"), option(o, "ns_c"));
      x = at::addmm(x, b, x, option(o, "ns_a"));
    }
    return is_tall ? x.t() : x;
  }
};

}  // namespace

std::shared_ptr<Optimizer> Adafactor(Parameters<AdafactorGroup> parameters, AdafactorOptions o) {
  Options options{{"lr", o.lr}, {"beta2_decay", o.beta2_decay},   {"eps2", o.eps2},
                  {"d", o.d},   {"weight_decay", o.weight_decay}, {"maximize", o.maximize}};
  if (o.eps1) options.emplace("eps1", *o.eps1);
  return std::make_shared<FactoredVariance>(kAdafactor, std::move(parameters.groups), std::move(options));
}
std::shared_ptr<Optimizer> Muon(Parameters<MuonGroup> parameters, MuonOptions o) {
  return std::make_shared<Orthogonal>(std::move(parameters.groups),
                                      Options{{"lr", o.lr},
                                              {"weight_decay", o.weight_decay},
                                              {"momentum", o.momentum},
                                              {"nesterov", o.nesterov},
                                              {"ns_a", o.ns_a},
                                              {"ns_b", o.ns_b},
                                              {"ns_c", o.ns_c},
                                              {"eps", o.eps},
                                              {"ns_steps", static_cast<double>(o.ns_steps)},
                                              {"match_rms_adamw", o.adjust_lr == MuonRate::kMatchRmsAdamW},
                                              {"maximize", 0}});
}

}  // namespace rtrain::optim
