// torch::optim's optimizers behind ours.
#pragma once

#include <rtrain/optim.h>

#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

namespace rtrain::optim {

/// What is particular to one class of torch::optim.
struct TorchClass {
  const char* type;
  /// Numbers by name out of the options of a group, and back in.
  Optimizer::Options (*read)(const torch::optim::OptimizerOptions&);
  void (*write)(torch::optim::OptimizerOptions&, const Optimizer::Options&);
  /// The state of one parameter by PyTorch's names, and back.
  Optimizer::ParameterState (*state)(const torch::optim::OptimizerParamState&);
  std::unique_ptr<torch::optim::OptimizerParamState> (*make)(const Optimizer::ParameterState&);
  /// The state tensors beside "step" that a parameter has with these options.
  std::vector<const char*> (*names)(const Optimizer::Options&);
};

class TorchOptimizer : public Optimizer {
 public:
  /// @lifetime `of` is static.
  TorchOptimizer(std::shared_ptr<torch::optim::Optimizer> optimizer, const TorchClass& of);

  void step(const StepInputs& inputs) override;
  torch::Tensor step(const Closure& closure) override;
  void add_param_group(ParamGroup group) override;
  void replace_parameter(const std::string& name, const StatePiece& piece) override;
  [[nodiscard]] OptimizerState state_dict() const override;
  std::function<void()> stage_state_dict(const OptimizerState& state,
                                         std::vector<std::string>& problems) override;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& parameter,
                                                        const Options& options) const override;
  void write_options();
  [[nodiscard]] torch::optim::Optimizer& torch_optimizer() const { return *optimizer_; }

 private:
  std::shared_ptr<torch::optim::Optimizer> optimizer_;
  const TorchClass& class_;
};

}  // namespace rtrain::optim
