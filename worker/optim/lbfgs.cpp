// LBFGS on torch::optim::LBFGS. Nocedal and Wright, "Numerical Optimization", chapters 3.5 and 7.2.
#include "worker/optim/grouped.h"
#include "worker/optim/torch_optimizer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/optim/lbfgs.h>

#include <deque>
#include <set>
#include <stdexcept>

namespace rtrain::optim {
namespace {

namespace to = torch::optim;

const TorchClass kLBFGS{
    "LBFGS",
    [](const to::OptimizerOptions& given) {
      const auto& o = static_cast<const to::LBFGSOptions&>(given);
      return Options{{"lr", o.lr()},
                     {"max_iter", static_cast<double>(o.max_iter())},
                     {"max_eval", static_cast<double>(o.max_eval().value_or(o.max_iter() * 5 / 4))},
                     {"tolerance_grad", o.tolerance_grad()},
                     {"tolerance_change", o.tolerance_change()},
                     {"history_size", static_cast<double>(o.history_size())},
                     {"strong_wolfe", o.line_search_fn().has_value()}};
    },
    [](to::OptimizerOptions& given, const Options& options) {
      auto& o = static_cast<to::LBFGSOptions&>(given);
      o.lr(option(options, "lr"));
      o.max_iter(static_cast<std::int64_t>(option(options, "max_iter")));
      o.max_eval(static_cast<std::int64_t>(option(options, "max_eval")));
      o.tolerance_grad(option(options, "tolerance_grad"));
      o.tolerance_change(option(options, "tolerance_change"));
      o.history_size(static_cast<std::int64_t>(option(options, "history_size")));
      o.line_search_fn(flag(options, "strong_wolfe") ? std::optional<std::string>("strong_wolfe")
                                                     : std::nullopt);
    },
    nullptr,
    nullptr,
    nullptr};

/// What is one for all parameters is kept under the first.
constexpr const char *kEvaluations = "func_evals", *kIterations = "n_iter", *kLength = "t",
                     *kLoss = "prev_loss", *kDiagonal = "H_diag", *kRo = "ro";
/// What has a place for each parameter: there it is one long vector, here a piece by the name of each, so
/// that parameters may come in another order.
constexpr const char *kDirection = "d", *kGradient = "prev_flat_grad", *kDirections = "old_dirs",
                     *kSteps = "old_stps";

class Lbfgs final : public TorchOptimizer {
 public:
  explicit Lbfgs(std::shared_ptr<to::Optimizer> optimizer) : TorchOptimizer(std::move(optimizer), kLBFGS) {}

  using TorchOptimizer::step;
  void step(const StepInputs&) override {
    throw std::logic_error("LBFGS asks for the loss several times a step: call step(closure)");
  }
  [[nodiscard]] bool needs_closure() const override { return true; }
  void add_param_group(ParamGroup) override {
    throw std::logic_error("LBFGS has one parameter group, which cannot be added to");
  }

  [[nodiscard]] OptimizerState state_dict() const override {
    auto result = Optimizer::state_dict();
    const auto& states = torch_optimizer().state();
    const auto found = states.find(parameters_.front().unsafeGetTensorImpl());
    if (found == states.end()) return result;
    const auto& s = static_cast<const to::LBFGSParamState&>(*found->second);
    const auto whole = [&](const char* name, const torch::Tensor& tensor) {
      result.tensors.emplace(parameter_name(0) + "." + name, tensor);
    };
    whole(kEvaluations, at::scalar_tensor(s.func_evals(), at::kLong));
    whole(kIterations, at::scalar_tensor(s.n_iter(), at::kLong));
    whole(kLength, at::scalar_tensor(s.t(), at::kDouble));
    whole(kLoss, at::scalar_tensor(s.prev_loss(), at::kDouble));
    if (s.H_diag().defined()) whole(kDiagonal, s.H_diag());
    if (!s.ro().empty()) whole(kRo, list(s.ro()));
    pieces(result, kDirection, s.d());
    pieces(result, kGradient, s.prev_flat_grad());
    if (!s.old_dirs().empty()) pieces(result, kDirections, list(s.old_dirs()));
    if (!s.old_stps().empty()) pieces(result, kSteps, list(s.old_stps()));
    return result;
  }

  std::function<void()> stage_state_dict(const OptimizerState& state,
                                         std::vector<std::string>& problems) override {
    const torch::NoGradGuard no_grad;
    const auto before = problems.size();
    // Groups and names as for all; the tensors are read below.
    auto commit = Optimizer::stage_state_dict({state.type, {}, state.groups}, problems);
    std::map<std::string, torch::Tensor> left;
    for (const auto& [key, piece] : state.tensors) left.emplace(key, piece.whole());
    auto s = std::make_shared<to::LBFGSParamState>();
    const auto whole = [&](const char* name) {
      for (std::size_t i = 0; i < parameters_.size(); ++i) {
        const auto entry = left.find(parameter_name(i) + "." + name);
        if (entry == left.end()) continue;
        auto tensor = entry->second.to(parameters_.front().device(), /*non_blocking=*/false, /*copy=*/true);
        left.erase(entry);
        return tensor;
      }
      return torch::Tensor();
    };
    const auto number = [&](const char* name) {
      const auto tensor = whole(name);
      if (tensor.defined() && tensor.numel() == 1) return tensor.item<double>();
      problems.push_back(std::string("the state has no number \"") + name + "\"");
      return 0.0;
    };
    if (!left.empty()) {
      s->func_evals(static_cast<std::int64_t>(number(kEvaluations)));
      s->n_iter(static_cast<std::int64_t>(number(kIterations)));
      s->t(number(kLength));
      s->prev_loss(number(kLoss));
      s->H_diag(whole(kDiagonal));
      s->d(joined(left, kDirection, problems));
      s->prev_flat_grad(joined(left, kGradient, problems));
      s->old_dirs(deque_of(joined(left, kDirections, problems)));
      s->old_stps(deque_of(joined(left, kSteps, problems)));
      s->ro(deque_of(whole(kRo)));
      if (s->ro().size() != s->old_dirs().size() || s->ro().size() != s->old_stps().size())
        problems.emplace_back("the history has " + std::to_string(s->ro().size()) + " \"ro\", " +
                              std::to_string(s->old_dirs().size()) + " \"old_dirs\" and " +
                              std::to_string(s->old_stps().size()) + " \"old_stps\"");
      for (const auto& [key, tensor] : left)
        problems.push_back("the state has an unknown entry \"" + key + "\"");
    }
    if (problems.size() != before) return {};
    const bool stepped = !state.tensors.empty();
    return [this, commit = std::move(commit), s, stepped] {
      commit();
      write_options();
      auto& states = torch_optimizer().state();
      auto* key = parameters_.front().unsafeGetTensorImpl();
      states.erase(key);
      if (stepped) states[key] = std::make_unique<to::LBFGSParamState>(*s);
    };
  }

 private:
  static torch::Tensor list(const std::deque<torch::Tensor>& tensors) {
    return at::stack(std::vector<torch::Tensor>(tensors.begin(), tensors.end()));
  }
  static std::deque<torch::Tensor> deque_of(const torch::Tensor& rows) {
    if (!rows.defined()) return {};
    const auto each = rows.unbind(0);
    std::deque<torch::Tensor> result;
    for (const auto& row : each) result.push_back(row.clone());
    return result;
  }

  /// @param flat of all parameters in the last dimension; before it may stand the number of a step.
  void pieces(OptimizerState& to, const char* name, const torch::Tensor& flat) const {
    if (!flat.defined()) return;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      auto shape = flat.sizes().vec();
      shape.pop_back();
      shape.insert(shape.end(), parameters_[i].sizes().begin(), parameters_[i].sizes().end());
      to.tensors.emplace(parameter_name(i) + "." + name,
                         flat.narrow(-1, begin, parameters_[i].numel()).reshape(shape).clone());
      begin += parameters_[i].numel();
    }
  }

  /// The reverse of pieces(); undefined when no parameter has one. Takes them out of `from`.
  torch::Tensor joined(std::map<std::string, torch::Tensor>& from, const char* name,
                       std::vector<std::string>& problems) const {
    std::vector<torch::Tensor> all;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const auto& p = parameters_[i];
      const auto key = parameter_name(i) + "." + name;
      const auto entry = from.find(key);
      if (entry == from.end()) continue;
      const auto& saved = entry->second;
      const bool fits = saved.dim() >= p.dim() && saved.dim() <= p.dim() + 1 &&
                        saved.sizes().slice(static_cast<std::size_t>(saved.dim() - p.dim())) == p.sizes();
      if (fits) {
        const auto rows = saved.dim() == p.dim() ? std::vector<std::int64_t>{-1}
                                                 : std::vector<std::int64_t>{saved.size(0), -1};
        all.push_back(saved.to(p.device(), p.scalar_type()).reshape(rows));
      } else {
        problems.push_back("the state's \"" + key + "\" has shape " + c10::str(saved.sizes()) +
                           ", the parameter has " + c10::str(p.sizes()));
      }
      from.erase(entry);
    }
    if (all.empty()) return {};
    for (const auto& piece : all) {
      if (piece.dim() == all.front().dim() && (piece.dim() == 1 || piece.size(0) == all.front().size(0)))
        continue;
      problems.push_back(std::string("the parameters have histories of different lengths in \"") + name +
                         "\"");
      return {};
    }
    if (all.size() != parameters_.size()) {
      problems.push_back(std::string("some parameters lack \"") + name + "\"");
      return {};
    }
    return at::cat(all, -1);
  }
};

}  // namespace

std::shared_ptr<Optimizer> wrap_lbfgs(std::shared_ptr<to::Optimizer> optimizer);
std::shared_ptr<Optimizer> wrap_lbfgs(std::shared_ptr<to::Optimizer> optimizer) {
  return std::make_shared<Lbfgs>(std::move(optimizer));
}

std::shared_ptr<Optimizer> LBFGS(std::vector<torch::Tensor> parameters, LBFGSOptions o) {
  if (!(o.lr >= 0) || o.max_iter < 1 || o.history_size < 1)
    throw std::invalid_argument("LBFGS: lr must be 0 or more, max_iter and history_size 1 or more");
  auto options = to::LBFGSOptions(o.lr)
                     .max_iter(o.max_iter)
                     .max_eval(o.max_eval.value_or(o.max_iter * 5 / 4))
                     .tolerance_grad(o.tolerance_grad)
                     .tolerance_change(o.tolerance_change)
                     .history_size(o.history_size);
  if (o.strong_wolfe) options.line_search_fn("strong_wolfe");
  // Says what is wrong with the parameters before torch's constructor does, as all our optimizers do.
  struct Checked final : Optimizer {
    using Optimizer::Optimizer;
    void step(const StepInputs&) override {}
  } const checked({ParamGroup{std::move(parameters)}}, "LBFGS");
  return wrap_lbfgs(std::make_shared<to::LBFGS>(checked.parameters(), options));
}

}  // namespace rtrain::optim
