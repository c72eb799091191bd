#include <rtrain/cluster_environment.h>
#include <rtrain/context.h>
#include <rtrain/strategies.h>

#include "worker/strategies/process_group.h"

#include <torch/torch.h>

namespace rtrain {

bool Strategy::reduce_boolean_decision(bool decision, bool all) {
  if (!is_distributed()) return decision;
  auto vote = torch::scalar_tensor(decision ? 1.0F : 0.0F, torch::dtype(torch::kFloat32).device(device()));
  reduce(vote, all ? Reduce::kMin : Reduce::kMax);
  return vote.item<float>() > 0;
}

void SingleDeviceStrategy::setup(LightningModule&, bool) {}

void SingleDeviceStrategy::backward(const torch::Tensor& loss, bool) { loss.backward(); }

void SingleDeviceStrategy::zero_grad(const std::vector<torch::Tensor>& parameters) {
  for (const auto& parameter : parameters) parameter.mutable_grad().reset();
}

// The group that the collectives use is the truth; a process without one asks the job.
int ClusterEnvironment::world_size() const { return Collectives::initialized() ? Collectives::world_size() : get_context().get_world_size(); }
int ClusterEnvironment::global_rank() const { return Collectives::initialized() ? Collectives::rank() : get_context().get_world_rank(); }
int ClusterEnvironment::local_rank() const { return get_context().get_local_rank(); }
int ClusterEnvironment::node_rank() const { return get_context().get_node_rank(); }

}  // namespace rtrain
