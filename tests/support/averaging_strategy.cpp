#include "tests/support/averaging_strategy.h"

#include <rtrain/names.h>

#include <torch/torch.h>

namespace rtrain::test {
namespace {

class AveragingPlan final : public Plan {
 public:
  AveragingPlan(LightningModule& model, Mesh& ranks, torch::Device where, int every)
      : Plan(model, ranks, where), every_(every) {
    mesh().world().broadcast_all(module().parameters());
  }
  void step(Optimizer& optimizer, const StepInputs& inputs) override {
    optimizer.step(inputs);
    if (++steps_ % every_ != 0) return;
    for (const auto& parameter : module().parameters())
      mesh().world().all_reduce(parameter, Communicator::Op::kMean);
  }

 private:
  int every_, steps_ = 0;
};

}  // namespace

std::unique_ptr<Plan> AveragingStrategy::prepare(LightningModule& module, bool) {
  return std::make_unique<AveragingPlan>(module, mesh(), device(), every_);
}

RTRAIN_REGISTER(Strategy, "averaging", AveragingStrategy);

}  // namespace rtrain::test
