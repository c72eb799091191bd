#include <rtrain/names.h>
#include <rtrain/strategies.h>

#include "worker/checkpoint/module_state.h"

#include <torch/torch.h>

#include <utility>

namespace rtrain {
namespace {

Communicator::Op op_of(Strategy::Reduce reduce) {
  switch (reduce) {
    case Strategy::Reduce::kSum: return Communicator::Op::kSum;
    case Strategy::Reduce::kMean: return Communicator::Op::kMean;
    case Strategy::Reduce::kMin: return Communicator::Op::kMin;
    case Strategy::Reduce::kMax: return Communicator::Op::kMax;
  }
  return Communicator::Op::kSum;
}

}  // namespace

ParallelDegrees Strategy::degrees(int world_size) const { return {.replicate = world_size}; }

void Strategy::model_to_device(LightningModule& module) { module.to(device_); }

void Strategy::teardown(LightningModule& module) { module.to(torch::kCPU); }

StateTree Strategy::module_state(const LightningModule& module) const { return state_of(module); }

void Strategy::with_module_state(LightningModule& module, const std::function<void(const StateTree&)>& body) {
  body(module_state(module));
}

void Strategy::connect(Mesh mesh, torch::Device device) {
  mesh_ = std::move(mesh);
  device_ = device;
}

void Strategy::reduce(torch::Tensor& value, Reduce op) { mesh_.loss_group().all_reduce(value, op_of(op)); }

std::string Strategy::broadcast(const std::string& value) {
  return mesh_.world().broadcast_text(value, 0, device_);
}

std::vector<torch::Tensor> Strategy::all_gather(const torch::Tensor& value) {
  return mesh_.world().all_gather(value);
}

bool Strategy::reduce_boolean_decision(bool decision, bool all) {
  if (mesh_.world().is_alone()) return decision;
  auto vote = torch::scalar_tensor(decision ? 1.0F : 0.0F, torch::dtype(torch::kFloat32).device(device_));
  mesh_.world().all_reduce(vote, all ? Communicator::Op::kMin : Communicator::Op::kMax);
  return vote.item<float>() > 0;
}

ParallelDegrees SingleDeviceStrategy::degrees(int) const { return {}; }

std::unique_ptr<Plan> SingleDeviceStrategy::prepare(LightningModule& module, bool) {
  return std::make_unique<Plan>(module, mesh(), device());
}

RTRAIN_REGISTER(Strategy, "single_device", SingleDeviceStrategy);

}  // namespace rtrain
