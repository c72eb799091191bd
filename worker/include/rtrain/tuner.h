// Searches hyperparameters from a C++ program: Ray's Tuner.
//   const auto grid = rtrain::Tuner(train_func, {.param_space = {{"lr", rtrain::tune::loguniform(1e-5, 1e-1)}},
//                                                .tune_config = {.metric = "val_loss", .num_samples = 20}}).fit();
//   std::cout << grid.get_best_result().config;
//
// fit() starts `rtrain sweep run`. A trial is a job whose workers run this same program with the same
// arguments, as those of TorchTrainer do: code in main() before fit() runs in every worker too.
#pragma once

#include <rtrain/export.h>
#include <rtrain/registry.h>
#include <rtrain/result_grid.h>
#include <rtrain/torch_trainer.h>
#include <rtrain/tune.h>

#include <nlohmann/json.hpp>

namespace rtrain {

struct RTRAIN_API TunerOptions {
  tune::ParamSpace param_space{};  ///< at least one parameter
  TuneConfig tune_config{};
  ScalingConfig scaling_config{};  ///< of a trial; num_workers of 1 or more
  RunConfig run_config{};          ///< of a trial; `name` is the sweep's, and trial k is called <name>-k
  nlohmann::json train_loop_config = nlohmann::json::object();  ///< what the parameters are put into
  TorchConfig torch_config{};
};

/// A training function and what to search. @thread one thread.
class RTRAIN_API Tuner {
 public:
  explicit Tuner(TrainFunction train_func, TunerOptions options);
  /// Runs the sweep to its end on this machine. Progress goes to stderr. A sweep that failed, and trials that
  /// did, are in what it returns.
  /// @throws std::invalid_argument names all that is out of range; std::runtime_error the sweep could not be
  ///        run at all: there is no `rtrain` program ($RTRAIN_BIN, beside librtrain.so, PATH), or it refused
  ///        the sweep (its message is on stderr).
  [[nodiscard]] ResultGrid fit();

 private:
  TrainFunction train_func_;
  TunerOptions options_;
};

}  // namespace rtrain
