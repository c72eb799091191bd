// What a module and a data module keep of their settings: Lightning's HyperparametersMixin.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

namespace rtrain {

/// What a module or a data module was made with: checkpoints and loggers keep it.
class RTRAIN_API HyperparametersMixin {
 public:
  /// Lightning's save_hyperparameters(), in the constructor: adds the keys of a JSON object, or of a struct
  /// that nlohmann can convert, to hparams(). A module's are in each checkpoint ("hyper_parameters" of
  /// loop.json); loggers get those of the module and the data module together, once a run.
  /// @throws std::invalid_argument another type than an object.
  void save_hyperparameters(const nlohmann::json& hyperparameters);
  [[nodiscard]] nlohmann::json& hparams() { return hparams_; }
  [[nodiscard]] const nlohmann::json& hparams() const { return hparams_; }

 private:
  nlohmann::json hparams_ = nlohmann::json::object();
};

}  // namespace rtrain
