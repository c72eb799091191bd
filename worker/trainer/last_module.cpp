// Evaluations of the module of the run before, and predictions.
#include "worker/trainer/trainer_impl.h"

#include <stdexcept>

namespace rtrain {

EvaluationMetrics Trainer::Impl::evaluate_last(Stage now, const char* what,
                                               const EvaluationArguments& arguments) {
  if (attachment->module == nullptr)
    throw std::logic_error(std::string(what) +
                           " without a module: no run before left one (one passed as a temporary is gone "
                           "when its run ends): pass the module");
  const AnyModule module = owned ? AnyModule(owned) : AnyModule(*attachment->module);
  auto weights = arguments.ckpt_path;
  if (weights.path().empty()) {
    warn(std::string(what) +
         " without a module uses the best checkpoint of the latest fit; ckpt_path = \"best\" says so, and "
         "with "
         "the module it uses the weights as they are");
    weights = "best";
  }
  if (arguments.dataloaders.defined() || attachment->data == nullptr)
    return evaluate(now, module, {.evaluation = arguments.dataloaders}, weights, arguments.verbose);
  const AnyDataModule data = owned_data ? AnyDataModule(owned_data) : AnyDataModule(*attachment->data);
  return evaluate(now, module, {.module = &data}, weights, arguments.verbose);
}

Predictions Trainer::Impl::predict(const AnyModule& module, const Data& data, const CheckpointPath& weights,
                                   const PredictionArguments& arguments) {
  evaluation.keep_predictions(arguments);
  (void)evaluate(Stage::kPredict, module, data, weights, /*verbose=*/false);
  return evaluation.take_predictions();
}

}  // namespace rtrain
