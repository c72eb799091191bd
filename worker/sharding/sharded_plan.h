// A run of a module under a strategy that shards it.
#pragma once

#include "worker/sharding/sharded_module.h"

#include <rtrain/plan.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::sharding {

struct PlanOptions {
  bool broadcast_buffers = true;
  std::optional<torch::ScalarType> input_type{};
};

class ShardedPlan final : public Plan {
 public:
  /// @param who "FSDPStrategy", for messages. @param whole parameters that stay whole; their gradients are
  /// averaged.
  ShardedPlan(std::string who, LightningModule& module, Mesh& mesh, torch::Device device,
              std::shared_ptr<ShardedModule> sharded, std::vector<torch::Tensor> whole,
              const PlanOptions& options);
  ~ShardedPlan() override;

  void adopt(Optimizer& optimizer) override;
  void before_forward(bool sync) override;
  void after_batch() override;
  void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& how) override;
  void reduce_gradients(const std::vector<torch::Tensor>& parameters) override;
  torch::Tensor clip(Optimizer& optimizer, const GradientClip& clip) override;
  void step(Optimizer& optimizer, const StepInputs& inputs) override;
  torch::Tensor step_with_closure(Optimizer& optimizer, const Closure& closure) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  [[nodiscard]] bool is_forward_collective() const override { return !sharded_->shards().is_alone(); }
  [[nodiscard]] std::optional<torch::ScalarType> input_type() const override { return options_.input_type; }
  [[nodiscard]] std::map<std::string, torch::Tensor> pending_gradients() const override;
  void load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) override;
  [[nodiscard]] std::string why_not_captured() const override;
  [[nodiscard]] StateTree module_state() const override;
  LoadedWeights load_module_state(const StateTree& saved, bool strict) override;
  void with_full_parameters(const std::function<void()>& body) override { sharded_->with_whole(body); }

 private:
  void take_pieces(Optimizer& optimizer);
  void require_reduced(const Optimizer& optimizer) const;

  std::string who_;
  std::shared_ptr<ShardedModule> sharded_;
  std::vector<torch::Tensor> whole_, buffers_;
  PlanOptions options_;
  std::map<const Optimizer*, std::uint64_t> adopted_;  ///< Optimizer::tensor_changes() when it was looked at
  bool sync_buffers_next_ = true;
};

}  // namespace rtrain::sharding
