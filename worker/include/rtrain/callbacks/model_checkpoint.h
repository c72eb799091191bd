// Keeps the best or the latest checkpoints of a fit in a folder: Lightning's ModelCheckpoint.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/duration.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Whether a ModelCheckpoint keeps "last.ckpt" as well: not at all, as a second checkpoint, or as a relative
/// link to the newest one. `true` is a link (Lightning's is a copy): a checkpoint is a folder, and a link to
/// it costs nothing. Where a CheckpointIO has no links, it is a second checkpoint.
class RTRAIN_API SaveLast {
 public:
  enum Kind { kNo, kCopy, kLink };
  constexpr SaveLast(Kind kind) : kind_(kind) {}            // NOLINT: implicit on purpose
  constexpr SaveLast(bool on) : kind_(on ? kLink : kNo) {}  // NOLINT: implicit on purpose
  [[nodiscard]] constexpr Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Lightning's arguments and defaults. If no every_n_* and no train_time_interval is given, it saves every
/// epoch.
struct RTRAIN_API ModelCheckpointOptions {
  std::filesystem::path dirpath{};  ///< empty: default_root_dir/checkpoints
  /// default: "{epoch}-{step}". "{val_loss:.2f}" yields "val_loss=0.12". It may contain folders; only those
  /// before the first field may lead out of dirpath ("../{epoch}").
  std::string filename{};
  std::optional<std::string> monitor{};  ///< name in callback_metrics; default: the latest is the best
  std::string mode = "min";              ///< or "max"
  int save_top_k = 1;                    ///< -1: all, 0: none; without a monitor only -1, 0 or 1
  SaveLast save_last = SaveLast::kNo;  ///< keep last.ckpt, with each checkpoint or else at the end of the fit
  /// save when a step or a hook throws, unless this step is saved already. With one rank only: a rank that
  /// fails cannot save with the others, which a warning says. After a CUDA error the device may not answer;
  /// then a line says that nothing was saved.
  bool save_on_exception = false;
  bool save_weights_only = false;
  bool auto_insert_metric_name = true;
  std::optional<std::int64_t> every_n_train_steps{};  ///< these three exclude each other
  std::optional<std::int64_t> every_n_epochs{};
  /// at the end of a batch, once so much time has passed since training began or this looked last; rank 0's
  /// clock decides
  std::optional<Duration> train_time_interval{};
  /// default: save at the end of the training epoch, unless validation runs several times per epoch
  std::optional<bool> save_on_train_epoch_end{};
  /// if a path exists, append "-v1" instead of overwriting it
  bool enable_version_counter = true;
  /// distinguishes instances with the same monitor, mode and interval; part of state_key()
  std::string name{};
};

/// A checkpoint that a ModelCheckpoint keeps, with the value of its monitor (NaN is treated as the worst
/// value, an infinity).
struct RTRAIN_API ScoredCheckpoint {
  std::filesystem::path path;
  double score = 0;
};

/// Keeps the best (or the latest) checkpoints in a folder. Each checkpoint is itself a folder,
/// "epoch=0-step=100.ckpt". Among equal scores the one saved first ranks higher. It deletes only checkpoints
/// in its own folder, and never the one that fit() resumed from. It writes and deletes with
/// Trainer::checkpoint_io(). It does nothing under fast_dev_run. With
/// several ranks, rank 0's metrics decide and name the files (one warning if the monitor differs between
/// ranks: log it with sync_dist). A monitor that is missing from the metrics is an error once a validation
/// has run or, in a fit without validation, at the end of an epoch; before that it is a warning.
class RTRAIN_API ModelCheckpoint : public Callback {
 public:
  /// @throws std::invalid_argument lists every problem of the options.
  explicit ModelCheckpoint(ModelCheckpointOptions options);
  ModelCheckpoint() : ModelCheckpoint(ModelCheckpointOptions{}) {}

  [[nodiscard]] const std::filesystem::path& best_model_path() const { return best_model_path_; }
  [[nodiscard]] std::optional<double> best_model_score() const { return best_model_score_; }
  [[nodiscard]] const std::vector<ScoredCheckpoint>& best_k_models() const {
    return best_k_models_;
  }  ///< in the order in which they were saved
  [[nodiscard]] const std::filesystem::path& last_model_path() const { return last_model_path_; }
  [[nodiscard]] const std::filesystem::path& kth_best_model_path() const { return kth_best_model_path_; }

  /// The checkpoints in its folder that are called "last", "last-v1", ..., and last_model_path(); from
  /// setup() on.
  [[nodiscard]] std::vector<std::filesystem::path> last_checkpoints() const;

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_validation_end(Trainer& trainer, LightningModule& module) override;
  void on_train_start(Trainer& trainer, LightningModule& module) override;
  void on_train_end(Trainer& trainer, LightningModule& module) override;
  void on_exception(Trainer& trainer, LightningModule& module, const std::exception& error) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;
  [[nodiscard]] std::string state_key() const override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kCheckpoint; }
  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kCheckpoint; }
  [[nodiscard]] std::optional<std::vector<std::filesystem::path>> saved(SavedCheckpoint name) const override;

 protected:
  /// Writes a checkpoint: Trainer::save_checkpoint(). Every rank calls it.
  virtual void write(Trainer& trainer, const std::filesystem::path& path);

 private:
  using Candidates = std::map<std::string, double>;
  [[nodiscard]] Candidates candidates_of(Trainer& trainer);
  [[nodiscard]] std::string missing_monitor(const Candidates& candidates) const;
  [[nodiscard]] bool skips(const Trainer& trainer) const;
  [[nodiscard]] bool saves_at_train_epoch_end(const Trainer& trainer) const;
  [[nodiscard]] std::filesystem::path free_path(Trainer& trainer, const std::string& name_template,
                                                const Candidates& candidates,
                                                const std::filesystem::path& may_replace) const;
  void save_all(Trainer& trainer, const Candidates& candidates);
  /// @return what it displaced and is to be removed, once last.ckpt is no link to it; empty: nothing
  [[nodiscard]] std::filesystem::path save_top_k(Trainer& trainer, const Candidates& candidates);
  void save_last(Trainer& trainer, const Candidates& candidates);
  [[nodiscard]] bool links_last(const Trainer& trainer) const;
  void link(Trainer& trainer, const std::filesystem::path& path) const;
  [[nodiscard]] bool interval_is_over(Trainer& trainer);
  void save_for_epoch(Trainer& trainer);
  void save(Trainer& trainer, const std::filesystem::path& path);
  [[nodiscard]] bool may_remove(const Trainer& trainer, const std::filesystem::path& path) const;
  void remove(Trainer& trainer, const std::filesystem::path& path) const;
  [[nodiscard]] double worst() const;
  [[nodiscard]] bool better(double a, double b) const { return options_.mode == "min" ? a < b : a > b; }

  ModelCheckpointOptions options_;
  std::filesystem::path outside_;  ///< the leading folders of filename that lead out of dirpath
  std::filesystem::path dirpath_;
  std::filesystem::path best_model_path_, last_model_path_, kth_best_model_path_;
  std::optional<double> best_model_score_;
  std::vector<ScoredCheckpoint> best_k_models_;
  std::filesystem::path newest_;  ///< what was saved last, "last" or not; empty: nothing yet
  std::chrono::steady_clock::time_point looked_at_{};
  std::int64_t last_global_step_saved_ = 0;  ///< 0: none; nothing is saved before the first step
  bool deferred_until_validation_ = false;   ///< the monitored metric did not exist yet
  bool warned_of_missing_ = false, warned_of_unsynced_ = false;
};

/// Formats "{epoch}-{val_loss:.2f}" with `values`, using a decimal point in any locale; a name without a
/// value counts as 0.
/// @throws std::invalid_argument for an unclosed "{", a field without a name, or a format other than
///        [0][width][.digits][d|f|e|g].
[[nodiscard]] RTRAIN_API std::string format_checkpoint_name(const std::string& name_template,
                                                            const std::map<std::string, double>& values,
                                                            bool auto_insert_metric_name = true);

}  // namespace rtrain
