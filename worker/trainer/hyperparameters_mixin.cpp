#include <rtrain/hyperparameters_mixin.h>

#include <stdexcept>
#include <string>

namespace rtrain {

void HyperparametersMixin::save_hyperparameters(const nlohmann::json& hyperparameters) {
  if (!hyperparameters.is_object())
    throw std::invalid_argument(std::string("save_hyperparameters: expected an object, found ") +
                                hyperparameters.type_name());
  hparams_.update(hyperparameters);
}

}  // namespace rtrain
