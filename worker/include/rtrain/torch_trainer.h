// A job from a C++ program: Ray's TorchTrainer.
//   auto result = rtrain::TorchTrainer(train_func, {.num_workers = 2, .use_gpu = true}).fit();
//
// fit() starts `rtrain run` with a job whose workers are this very program again, with the same arguments. In
// a worker the matching fit() call runs the training function and then ends the process; what main() does
// before it runs in every worker, what it does after it runs only in the program itself. Keep what comes
// before cheap and free of side effects.
#pragma once

#include <rtrain/export.h>
#include <rtrain/registry.h>
#include <rtrain/result.h>

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>

namespace rtrain {

/// Names and defaults of Ray Train's configuration classes; a value out of range is told by fit().
struct RTRAIN_API ScalingConfig {
  int num_workers = 1;  ///< 0: the training function runs in this process, without a cluster
  bool use_gpu = false;
  std::map<std::string, double> resources_per_worker{};  ///< empty: {"GPU": 1} with use_gpu, else {"CPU": 1}
  std::string placement_strategy = "PACK";               ///< PACK | SPREAD | STRICT_PACK | STRICT_SPREAD
};
struct RTRAIN_API FailureConfig {
  int max_failures = 0;  ///< tries again after a failure; -1: for ever
};
struct RTRAIN_API CheckpointConfig {
  std::optional<int> num_to_keep{};          ///< left out: all
  std::string checkpoint_score_attribute{};  ///< empty: by age
  std::string checkpoint_score_order = "max";
};
struct RTRAIN_API RunConfig {
  std::string name{};          ///< left out: the program's name
  std::string storage_path{};  ///< left out: ~/rtrain_results
  FailureConfig failure_config{};
  CheckpointConfig checkpoint_config{};
};
struct RTRAIN_API TorchConfig {
  std::string backend = "auto";  ///< auto | nccl | gloo
  double timeout_s = 1800;
  double init_timeout_s = 300;
};

class RTRAIN_API TorchTrainer {
 public:
  explicit TorchTrainer(TrainFunction train_func, ScalingConfig scaling_config = {},
                        RunConfig run_config = {},
                        nlohmann::json train_loop_config = nlohmann::json::object(),
                        TorchConfig torch_config = {},
                        std::optional<Checkpoint> resume_from_checkpoint = std::nullopt);
  /// Runs to the end. Logs and progress of the workers go to stderr. A failure of the training function is
  /// result.error.
  /// @throws std::runtime_error the job could not be run at all: no `rtrain` program ($RTRAIN_BIN, beside
  /// librtrain.so, PATH),
  ///         or it refused the job (its words are on stderr). @thread one.
  [[nodiscard]] TrainingResult fit();

 private:
  TrainFunction train_func_;
  ScalingConfig scaling_config_;
  RunConfig run_config_;
  nlohmann::json train_loop_config_;
  TorchConfig torch_config_;
  std::optional<Checkpoint> resume_from_checkpoint_;
};

}  // namespace rtrain
