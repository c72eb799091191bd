// Runs a job from a C++ program: Ray's TorchTrainer.
//   auto result = rtrain::TorchTrainer(train_func, {.num_workers = 2, .use_gpu = true}).fit();
//
// fit() starts `rtrain run` with a job whose workers run this same program with the same arguments. In a
// worker, the matching fit() call runs the training function and then ends the process. Code in main() before
// fit() therefore runs in every worker too, and should be cheap and free of side effects; code after it runs
// only in the original program.
#pragma once

#include <rtrain/export.h>
#include <rtrain/registry.h>
#include <rtrain/result.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace rtrain {

/// Names and defaults are those of Ray Train's configuration classes; fit() reports values out of range.
struct RTRAIN_API ScalingConfig {
  int num_workers = 1;  ///< 0: run the training function in this process, without a cluster
  bool use_gpu = false;
  /// default: {"GPU": 1} with use_gpu, else {"CPU": 1}
  std::map<std::string, double> resources_per_worker{};
  std::string placement_strategy = "PACK";  ///< PACK | SPREAD | STRICT_PACK | STRICT_SPREAD
};
struct RTRAIN_API FailureConfig {
  int max_failures = 0;  ///< retries after a failure; -1: unlimited
};
struct RTRAIN_API CheckpointConfig {
  std::optional<int> num_to_keep{};            ///< 1 or more; default: all
  std::string checkpoint_score_attribute{};    ///< a reported metric; empty: rank by age
  std::string checkpoint_score_order = "max";  ///< or "min"
};
struct RTRAIN_API RunConfig {
  std::string name{};          ///< default: the program's name
  std::string storage_path{};  ///< default: ~/rtrain_results
  FailureConfig failure_config{};
  CheckpointConfig checkpoint_config{};
};
struct RTRAIN_API TorchConfig {
  std::string backend = "auto";  ///< auto | nccl | gloo
  double timeout_s = 1800;       ///< of a collective; > 0
  double init_timeout_s = 300;   ///< of the rendezvous and the first collective; > 0
};

/// Ray's ValidationConfig: how a checkpoint is validated beside the training, in a job of one worker, when
/// its report() asks for it.
struct RTRAIN_API ValidationConfig {
  /// loads get_checkpoint() and returns an object of metrics, which is merged into those of the checkpoint
  TrainFunction fn;
  nlohmann::json train_loop_config = nlohmann::json::object();  ///< fn_kwargs of a report are merged into it
  std::map<std::string, double> resources{};                    ///< of the worker; default: {"CPU": 1}
  double timeout_s = 3600;  ///< of a validation, and in the queue once the training is over; > 0
};

/// One report() of a run.
struct RTRAIN_API ReportedRow {
  int attempt = 1;                       ///< from 1
  std::int64_t report = 0;               ///< of the attempt, from 1
  nlohmann::json metrics;                ///< rank 0's
  std::optional<Checkpoint> checkpoint;  ///< stored, if it brought one
};

/// A training function and how to run it. @thread one thread.
class RTRAIN_API TorchTrainer {
 public:
  explicit TorchTrainer(TrainFunction train_func, ScalingConfig scaling_config = {},
                        RunConfig run_config = {},
                        nlohmann::json train_loop_config = nlohmann::json::object(),
                        TorchConfig torch_config = {},
                        std::optional<Checkpoint> resume_from_checkpoint = std::nullopt);
  /// Calls `body` with each report of the run as fit() learns of it, in order, each once; with a job's
  /// workers in other processes some time after the report. The counterpart of Ray's
  /// UserCallback.after_report. An exception of `body` leaves fit() once the run has ended.
  /// @thread one call at a time: a thread of fit(); with num_workers 0 the thread that stores the report, and
  ///         an exception is report()'s.
  TorchTrainer& on_report(std::function<void(const ReportedRow&)> body);
  /// What a report() with `validation` runs. It needs num_workers of 1 or more.
  TorchTrainer& validation(ValidationConfig config);
  /// Runs the job to its end. Logs and progress of the workers go to stderr. A failure of the training
  /// function is returned as result.error.
  /// @throws std::runtime_error if the job could not be run at all: there is no `rtrain` program
  ///        ($RTRAIN_BIN, beside librtrain.so, PATH), or it refused the job (its message is on stderr).
  [[nodiscard]] TrainingResult fit();

 private:
  TrainFunction train_func_;
  ScalingConfig scaling_config_;
  RunConfig run_config_;
  nlohmann::json train_loop_config_;
  TorchConfig torch_config_;
  std::optional<Checkpoint> resume_from_checkpoint_;
  std::function<void(const ReportedRow&)> on_report_;
  std::optional<ValidationConfig> validation_;
};

}  // namespace rtrain
