#include <rtrain/lightning_optimizer.h>

#include <stdexcept>
#include <unordered_set>

namespace rtrain {

detail::OptimizerDriver& LightningOptimizer::driver() const {
  const auto driver = driver_.lock();
  if (driver == nullptr)
    throw std::logic_error(optimizer_->type_name() +
                           ": the fit that this optimizer belongs to is over; take it from optimizer() anew "
                           "in each fit");
  return *driver;  // it lives as long as the Trainer, which is running the fit
}

ToggledOptimizer::ToggledOptimizer(const std::vector<std::shared_ptr<Optimizer>>& all, const Optimizer& one) {
  std::unordered_set<const void*> own;
  for (const auto& parameter : one.module_parameters()) own.insert(parameter.unsafeGetTensorImpl());
  for (const auto& optimizer : all) {
    for (const auto& parameter : optimizer->module_parameters()) {
      if (own.contains(parameter.unsafeGetTensorImpl())) continue;
      before_.emplace_back(parameter, parameter.requires_grad());
      parameter.set_requires_grad(false);
    }
  }
}

void ToggledOptimizer::untoggle() noexcept {
  // Backwards: a parameter of two optimizers was noted twice, first as it was.
  for (auto it = before_.rbegin(); it != before_.rend(); ++it) it->first.set_requires_grad(it->second);
  before_.clear();
}

}  // namespace rtrain
