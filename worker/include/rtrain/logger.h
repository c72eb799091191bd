// A destination for logged metrics besides the job's own reports: Lightning's Logger.
#pragma once

#include <rtrain/export.h>
#include <rtrain/names.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

class ModelCheckpoint;

/// Called on rank 0 only; Trainer::loggers() is empty on the others. A logger lives as long as the Trainer
/// and may serve several runs in sequence. What a logger has no place for (an image in a table) it leaves
/// out.
/// @thread the training thread.
class RTRAIN_API Logger {
 public:
  virtual ~Logger() = default;

  /// The metrics of a training step every log_every_n_steps, of an epoch at its end, of an evaluation at its
  /// end, with "epoch" among them; and what each batch of an evaluation logged on_step, without "epoch".
  /// @param step batches that stepped so far; epoch metrics carry the last step's. In an evaluation's batch:
  ///        the batches of its loader so far.
  virtual void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) = 0;
  /// Once a run, after on_fit_start: LightningModule::hparams() or, if the module has none, the job's
  /// train_loop_config. Not called if both are empty, and not again for the same values.
  /// @param hyperparameters an object; may be nested.
  virtual void log_hyperparams(const nlohmann::json& /*hyperparameters*/) {}

  // ---- called by models and callbacks ------------------------------------------------------------
  /// @param values any shape, any device, a real type; copied.
  virtual void log_histogram(const std::string& /*tag*/, const torch::Tensor& /*values*/,
                             std::int64_t /*step*/) {}
  /// @param image [C, H, W] with C = 1, 3 or 4, or [H, W]: uint8 from 0 to 255, or a floating-point type from
  ///        0 to 1 (values outside are clamped).
  virtual void log_image(const std::string& /*tag*/, const torch::Tensor& /*image*/, std::int64_t /*step*/) {}
  virtual void log_text(const std::string& /*tag*/, const std::string& /*text*/, std::int64_t /*step*/) {}

  // ---- called by the Trainer ---------------------------------------------------------------------
  /// After each call of log_metrics() and log_hyperparams(): what the logger holds back may go to the disk.
  virtual void save() {}
  /// A ModelCheckpoint has written `path`; its best_model_path() and best_k_models() include it.
  virtual void after_save_checkpoint(const ModelCheckpoint&, const std::filesystem::path& /*path*/) {}
  /// The end of a run: everything goes to the disk. @param status "success", "failed",
  ///        or "yielded": the job gave its resources back and will go on
  virtual void finalize(const std::string& /*status*/) {}

  // ---- where it writes ---------------------------------------------------------------------------
  /// The experiment: a folder's name, or a server's; empty: it has none.
  [[nodiscard]] virtual std::string name() const { return {}; }
  /// The run within the experiment.
  [[nodiscard]] virtual std::string version() const { return {}; }
  [[nodiscard]] virtual std::filesystem::path save_dir() const { return {}; }
  /// Where the files of this run are, whether or not there is one yet; empty: it has none.
  [[nodiscard]] virtual std::filesystem::path log_dir() const { return {}; }
};

/// An element of TrainerOptions::loggers: a logger by value, a shared_ptr if the caller needs it afterwards,
/// or what Names<Logger>::from_json() takes.
class RTRAIN_API AnyLogger {
 public:
  template <std::derived_from<Logger> L>
  AnyLogger(L logger) : logger_(std::make_shared<L>(std::move(logger))) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Logger> L>
  AnyLogger(std::shared_ptr<L> logger) : logger_(std::move(logger)) {}  // NOLINT: implicit on purpose
  /// @throws std::invalid_argument see Names::from_json().
  template <std::same_as<nlohmann::json> J>
  AnyLogger(const J& described)  // NOLINT: implicit on purpose
      : logger_(Names<Logger>::from_json(described)) {}
  [[nodiscard]] const std::shared_ptr<Logger>& get() const { return logger_; }

 private:
  std::shared_ptr<Logger> logger_;
};

/// The loggers that a JSON list describes, such as config.value("loggers", nlohmann::json::array()).
/// @throws std::invalid_argument all problems of all elements.
[[nodiscard]] RTRAIN_API std::vector<AnyLogger> loggers_from(const nlohmann::json& list);

}  // namespace rtrain
