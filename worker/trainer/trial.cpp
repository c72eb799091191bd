// Training that is taken back: what finders of options do before a fit.
#include "worker/run/generator_states.h"
#include "worker/trainer/trainer_impl.h"

#include <torch/torch.h>

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

/// The losses of one step's batches.
class StepLoss {
 public:
  void add(const torch::Tensor& loss) {
    if (!loss.defined()) return;
    sum_ = sum_.defined() ? sum_ + loss : loss;
    ++batches_;
  }
  /// @param divided by what each loss was divided. Undefined: none of the batches had one.
  [[nodiscard]] torch::Tensor take_mean(std::int64_t divided) {
    const auto batches = std::exchange(batches_, 0);
    const auto sum = std::exchange(sum_, {});
    return batches == divided || !sum.defined()
               ? sum
               : sum * (static_cast<double>(divided) / static_cast<double>(batches));
  }

 private:
  torch::Tensor sum_;
  std::int64_t batches_ = 0;
};

/// What a trial changes, put back when it ends.
class BeforeTrial {
 public:
  explicit BeforeTrial(RunContext& run)
      : run_(run),
        stage_(run.stage),
        precision_(run.precision().state()),
        generators_(generator_states(run.placement.device)) {
    for (const auto& [name, piece] : run.strategy().module_state(*run.module))
      tensors_.emplace(name, piece.tensor.detach().clone());
    for (const auto& optimizer : run.optimizers) {
      auto state = optimizer->state_dict();
      for (auto& [name, piece] : state.tensors) piece.tensor = piece.tensor.clone();
      optimizers_.push_back(std::move(state));
    }
    plan_ = run.plan->step_state();
    for (auto* tensors : {&plan_.tensors, &plan_.own})
      for (auto& [name, tensor] : *tensors) tensor = tensor.clone();
  }
  void put_back() {
    const torch::NoGradGuard no_grad;
    run_.plan->after_batch();  // of a step that has failed
    run_.strategy().with_module_state(*run_.module, [&](const StateTree& state) {
      for (const auto& [name, piece] : state) piece.tensor.detach().copy_(tensors_.at(name));
    });
    for (std::size_t i = 0; i < optimizers_.size(); ++i) run_.optimizers[i]->load_state_dict(optimizers_[i]);
    run_.plan->load_step_state(plan_);
    run_.plan->zero_grad(run_.module->parameters());
    for (auto& parameter : run_.module->parameters()) parameter.mutable_grad().reset();
    for (const auto& [name, metric] : run_.module->registered_metrics()) metric->reset();
    run_.precision().load_state(precision_);
    set_generator_states(generators_, run_.placement.device);
    run_.stage = stage_;
    run_.metrics.use(nullptr);
    run_.metrics.set_first_iteration(std::nullopt);
  }

 private:
  RunContext& run_;
  Stage stage_;
  nlohmann::json precision_;
  std::map<std::string, torch::Tensor> generators_;
  std::map<std::string, torch::Tensor> tensors_;  ///< of the module, as far as this rank has it
  std::vector<OptimizerState> optimizers_;
  PlanState plan_;
};

}  // namespace

void Trainer::Impl::require_fit_start(const char* what) const {
  if (!run.running || run.current_hook != Hook::kFitStart)
    throw std::logic_error(std::string(what) + " is for callbacks, in on_fit_start");
}

bool Trainer::Impl::reload_training() {
  require_fit_start("reload_train_dataloader()");
  if (given_training.defined()) return false;
  made_training.reset();
  return true;
}

void Trainer::Impl::try_training(std::int64_t steps, const std::function<void(std::int64_t)>& before,
                                 const std::function<bool(std::int64_t, const torch::Tensor&)>& after) {
  require_fit_start("try_training()");
  if (!run.automatic)
    throw std::logic_error("try_training(): the module optimizes by itself (automatic_optimization = false)");
  if (!made_training) made_training = training_data(given_training);
  BeforeTrial kept(run);
  const auto trial = [&] {
    LoggedMetrics unheard(/*training=*/true);
    run.metrics.use(&unheard);
    run.stage = Stage::kTrain;
    const torch::AutoGradMode with_gradients(true);
    StepLoss loss;
    std::int64_t step = 0;
    for (std::int64_t epoch = 0; step < steps; ++epoch) {
      made_training->set_epoch(epoch);
      auto batches = made_training->epoch(epoch);
      const auto steps_before = step;
      std::int64_t of_step = 0;  // batches of the step so far
      for (std::int64_t i = 0; i < made_training->size() && step < steps; ++i) {
        auto fetched = batches.next();
        if (!fetched) break;
        const auto batch = run.to_device(std::move(*fetched));
        run.metrics.on_batch_start(batch.empty() ? 1 : batch.size());
        const bool first = of_step == 0;
        const bool last =
            of_step + 1 == run.accumulate || i + 1 == made_training->size() || !batches.has_next();
        if (first && before) before(step);
        loss.add(fit_loop.try_step(batch, {.batch_idx = i, .first = first, .sync = last}).loss);
        of_step = last ? 0 : of_step + 1;
        if (!last) continue;
        const auto mean = loss.take_mean(run.accumulate);
        if (after && !after(step, mean)) return;
        ++step;
      }
      if (step == steps_before) return;  // no data
    }
  };
  try {
    trial();
  } catch (...) {
    kept.put_back();
    throw;
  }
  kept.put_back();
}

void Trainer::try_training(std::int64_t steps, const std::function<void(std::int64_t)>& before,
                           const std::function<bool(std::int64_t, const torch::Tensor&)>& after) {
  impl_->try_training(steps, before, after);
}
bool Trainer::reload_train_dataloader() { return impl_->reload_training(); }

}  // namespace rtrain
