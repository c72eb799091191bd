// torch.optim's optimizers. SGD, Adam, AdamW and Adagrad run on ATen's fused kernels (at::_fused_adamw_ and
// its like), the others on lists of tensors (at::_foreach_*), CPU and CUDA. Arguments, defaults and formulas
// are those of torch.optim in PyTorch 2.11.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizer.h>
#include <rtrain/optimizers.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace rtrain::optim {

/// What an optimizer is made over: parameters, or groups with options of their own.
///   AdamW(parameters(), {.lr = 1e-3})
///   AdamW({{.params = matrices}, {.params = biases, .weight_decay = 0}}, {.lr = 1e-3})
///   AdamW(split_decay(*this, 0.1), {.lr = 1e-3})
template <class Group>
struct Parameters {
  std::vector<ParamGroup> groups{};

  Parameters() = default;
  Parameters(std::vector<torch::Tensor> all) : groups{{std::move(all)}} {}  // NOLINT: implicit on purpose
  Parameters(std::initializer_list<torch::Tensor> all)                      // NOLINT: implicit on purpose
      : Parameters(std::vector<torch::Tensor>(all)) {}
  Parameters(std::vector<ParamGroup> given) : groups(std::move(given)) {}  // NOLINT: implicit on purpose
  Parameters(const std::vector<Group>& given) {                            // NOLINT: implicit on purpose
    for (const auto& group : given) groups.push_back(group.generic());
  }
  Parameters(std::initializer_list<Group> given)  // NOLINT: implicit on purpose
      : Parameters(std::vector<Group>(given)) {}
};

// Options of an optimizer, then those a group may have for itself. Every function below:
// @throws std::invalid_argument no parameters; a parameter that is no leaf, in two groups, not of
// floating-point numbers or not dense in memory; an option out of range. Sparse gradients are refused when a
// step meets them.

/// torch.optim.SGD.
struct RTRAIN_API SGDOptions {
  double lr = 1e-3;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;  ///< needs a momentum and no dampening
  bool maximize = false;  ///< all optimizers: climb along the gradient
};
struct RTRAIN_API SGDGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, momentum{}, dampening{}, weight_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> SGD(Parameters<SGDGroup> parameters,
                                                        SGDOptions options = {});

/// torch.optim.Adam.
struct RTRAIN_API AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  bool maximize = false;
  bool decoupled_weight_decay = false;  ///< AdamW's weight decay
};
/// Of Adam, AdamW, RAdam and Adamax.
struct RTRAIN_API AdamGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, beta1{}, beta2{}, eps{}, weight_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adam(Parameters<AdamGroup> parameters,
                                                         AdamOptions options = {});

/// torch.optim.AdamW.
struct RTRAIN_API AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> AdamW(Parameters<AdamGroup> parameters,
                                                          AdamWOptions options = {});

/// torch.optim.NAdam.
struct RTRAIN_API NAdamOptions {
  double lr = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  bool maximize = false;
};
struct RTRAIN_API NAdamGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, beta1{}, beta2{}, eps{}, weight_decay{}, momentum_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> NAdam(Parameters<NAdamGroup> parameters,
                                                          NAdamOptions options = {});

/// torch.optim.RAdam.
struct RTRAIN_API RAdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled_weight_decay = false;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> RAdam(Parameters<AdamGroup> parameters,
                                                          RAdamOptions options = {});

/// torch.optim.Adamax.
struct RTRAIN_API AdamaxOptions {
  double lr = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adamax(Parameters<AdamGroup> parameters,
                                                           AdamaxOptions options = {});

/// torch.optim.SparseAdam: Adam for parameters whose gradients are sparse (Embedding with .sparse(true)).
/// Only the rows that a gradient has are moved, and their averages. Takes sparse gradients only.
struct RTRAIN_API SparseAdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double eps = 1e-8;                  ///< above 0
  bool maximize = false;
};
struct RTRAIN_API SparseAdamGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, beta1{}, beta2{}, eps{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> SparseAdam(Parameters<SparseAdamGroup> parameters,
                                                               SparseAdamOptions options = {});

/// torch.optim.Adagrad. A parameter has its sum from its first step on, not from the construction as in
/// PyTorch.
struct RTRAIN_API AdagradOptions {
  double lr = 1e-2;
  double lr_decay = 0;
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
  bool maximize = false;
};
struct RTRAIN_API AdagradGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, lr_decay{}, weight_decay{}, initial_accumulator_value{}, eps{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adagrad(Parameters<AdagradGroup> parameters,
                                                            AdagradOptions options = {});

/// torch.optim.Adadelta.
struct RTRAIN_API AdadeltaOptions {
  double lr = 1;
  double rho = 0.9;  ///< in [0, 1]
  double eps = 1e-6;
  double weight_decay = 0;
  bool maximize = false;
};
struct RTRAIN_API AdadeltaGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, rho{}, eps{}, weight_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adadelta(Parameters<AdadeltaGroup> parameters,
                                                             AdadeltaOptions options = {});

/// torch.optim.RMSprop.
struct RTRAIN_API RMSpropOptions {
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
  bool maximize = false;
};
struct RTRAIN_API RMSpropGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, alpha{}, eps{}, weight_decay{}, momentum{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> RMSprop(Parameters<RMSpropGroup> parameters,
                                                            RMSpropOptions options = {});

/// torch.optim.ASGD. The averaged parameters are the state "ax".
struct RTRAIN_API ASGDOptions {
  double lr = 1e-2;
  double lambd = 1e-4;
  double alpha = 0.75;
  double t0 = 1e6;  ///< the step at which averaging begins
  double weight_decay = 0;
  bool maximize = false;
};
struct RTRAIN_API ASGDGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, lambd{}, alpha{}, t0{}, weight_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> ASGD(Parameters<ASGDGroup> parameters,
                                                         ASGDOptions options = {});

/// torch.optim.Rprop. Only for gradients of the whole data: it reads their signs.
struct RTRAIN_API RpropOptions {
  double lr = 1e-2;  ///< the first step size
  double eta_minus = 0.5, eta_plus = 1.2;
  double step_size_min = 1e-6, step_size_max = 50;
  bool maximize = false;
};
struct RTRAIN_API RpropGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, eta_minus{}, eta_plus{}, step_size_min{}, step_size_max{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Rprop(Parameters<RpropGroup> parameters,
                                                          RpropOptions options = {});

/// torch.optim.Adafactor: of a matrix it remembers a row and a column.
struct RTRAIN_API AdafactorOptions {
  double lr = 1e-2;
  double beta2_decay = -0.8;     ///< at most 0
  std::optional<double> eps1{};  ///< left out: the epsilon of the parameter's type
  double eps2 = 1e-3;
  double d = 1;  ///< at least 1: the greatest root mean square of an update
  double weight_decay = 0;
  bool maximize = false;
};
struct RTRAIN_API AdafactorGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, beta2_decay{}, eps1{}, eps2{}, d{}, weight_decay{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adafactor(Parameters<AdafactorGroup> parameters,
                                                              AdafactorOptions options = {});

/// How Muon's learning rate follows the shape of a matrix.
enum class MuonRate {
  kOriginal,       ///< lr sqrt(max(1, rows / columns))
  kMatchRmsAdamW,  ///< 0.2 lr sqrt(max(rows, columns)): learning rate and weight decay of AdamW can be kept
};
/// torch.optim.Muon: matrices only; @throws std::invalid_argument for a parameter of another dimension. Its
/// orthogonalization is computed in bfloat16.
struct RTRAIN_API MuonOptions {
  double lr = 1e-3;
  double weight_decay = 0.1;
  double momentum = 0.95;
  bool nesterov = true;
  double ns_a = 3.4445, ns_b = -4.775, ns_c = 2.0315;  ///< coefficients of the Newton-Schulz iteration
  double eps = 1e-7;
  std::int64_t ns_steps = 5;  ///< below 100
  MuonRate adjust_lr = MuonRate::kOriginal;
};
struct RTRAIN_API MuonGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};
  std::optional<double> lr{}, weight_decay{}, momentum{};
  [[nodiscard]] ParamGroup generic() const;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Muon(Parameters<MuonGroup> parameters,
                                                         MuonOptions options = {});

/// torch.optim.LBFGS, on torch::optim::LBFGS. Only step(closure) works; one group only. The closure is called
/// up to max_eval times a step. Its losses must be the same on every rank, like the gradients.
struct RTRAIN_API LBFGSOptions {
  double lr = 1;
  std::int64_t max_iter = 20;
  std::optional<std::int64_t> max_eval{};  ///< left out: max_iter * 5 / 4
  double tolerance_grad = 1e-7, tolerance_change = 1e-9;
  std::int64_t history_size = 100;
  bool strong_wolfe = false;  ///< line search by the strong Wolfe conditions
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> LBFGS(std::vector<torch::Tensor> parameters,
                                                          LBFGSOptions options = {});

/// Several optimizers that step one after the other as one, so that automatic optimization serves them: Muon
/// for matrices and AdamW for the rest. PyTorch has no such class. The groups are those of the members, in
/// their order; change options through the chain, which sets them in its members before each step.
/// @throws std::invalid_argument no members, a parameter in two of them, or LBFGS, which wants a closure.
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Chain(std::vector<std::shared_ptr<Optimizer>> members);

/// The parameters of `module` that require gradients in two groups: "decay", with `weight_decay`, and
/// "no_decay", with 0, which are the parameters of one dimension or none, biases and weights of norms. A
/// group without parameters is left out.
[[nodiscard]] RTRAIN_API std::vector<ParamGroup> split_decay(const torch::nn::Module& module,
                                                             double weight_decay);

/// A torch::optim optimizer (SGD, Adam, AdamW, RMSprop, Adagrad, LBFGS) as one of ours: its state is in
/// checkpoints, under the same names. Options may be read and written through groups(). @throws
/// std::invalid_argument another class, or null.
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> wrap(std::shared_ptr<torch::optim::Optimizer> optimizer);
template <std::derived_from<torch::optim::Optimizer> T>
[[nodiscard]] std::shared_ptr<Optimizer> wrap(T optimizer) {
  return wrap(std::static_pointer_cast<torch::optim::Optimizer>(std::make_shared<T>(std::move(optimizer))));
}

}  // namespace rtrain::optim
