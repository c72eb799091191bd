// Adam that moves the rows of sparse gradients alone: torch.optim.SparseAdam.
#include "worker/optim/grouped.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace rtrain::optim {
namespace {

const Kind kSparseAdam{
    "SparseAdam",
    {{"lr"}, {"beta1", Range::kBelow1}, {"beta2", Range::kBelow1}, {"eps", Range::kAbove0}, {"maximize"}}};

class RowsAdam final : public Grouped {
 public:
  using Grouped::Grouped;
  [[nodiscard]] bool is_elementwise() const override { return false; }

 protected:
  [[nodiscard]] bool takes_sparse() const override { return true; }

  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{
        {"step", host_number()}, {"exp_avg", at::zeros_like(p)}, {"exp_avg_sq", at::zeros_like(p)}};
  }

  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    for (const auto number : batch.numbers) (void)state_of(number, o);
    const auto counts = count_steps(batch);
    const double beta1 = option(o, "beta1"), beta2 = option(o, "beta2");
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      const auto& gradient = batch.gradients[i];
      auto values = gradient._values();
      if (values.numel() == 0) continue;
      if (flag(o, "maximize")) values = values.neg();
      auto& state = state_of(batch.numbers[i], o);
      // A sparse tensor of several sparse dimensions has a row for each index of all of them.
      const auto rows = gradient._indices();
      const auto at_rows = [&](const torch::Tensor& dense) { return dense.index(lists_of(rows)); };
      auto& average = state.at("exp_avg");
      auto& square = state.at("exp_avg_sq");
      const auto average_of_rows = at_rows(average).lerp(values, 1 - beta1);
      const auto square_of_rows = at_rows(square).lerp(values * values, 1 - beta2);
      average.index_put_(lists_of(rows), average_of_rows);
      square.index_put_(lists_of(rows), square_of_rows);
      const double correction = std::sqrt(1 - std::pow(beta2, counts[i])) / (1 - std::pow(beta1, counts[i]));
      const auto step =
          average_of_rows / (square_of_rows.sqrt() + option(o, "eps")) * (-option(o, "lr") * correction);
      batch.parameters[i].index_put_(lists_of(rows), at_rows(batch.parameters[i]) + step);
    }
  }

 private:
  /// One list of indices a sparse dimension.
  static std::vector<at::indexing::TensorIndex> lists_of(const torch::Tensor& rows) {
    std::vector<at::indexing::TensorIndex> lists;
    for (std::int64_t d = 0; d < rows.size(0); ++d) lists.emplace_back(rows[d]);
    return lists;
  }
};

}  // namespace

std::shared_ptr<Optimizer> SparseAdam(Parameters<SparseAdamGroup> parameters, SparseAdamOptions o) {
  return std::make_shared<RowsAdam>(
      kSparseAdam, std::move(parameters.groups),
      Options{
          {"lr", o.lr}, {"beta1", o.beta1}, {"beta2", o.beta2}, {"eps", o.eps}, {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
