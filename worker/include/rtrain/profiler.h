// Measures where the time of a run goes: Lightning's Profiler.
#pragma once

#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/names.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace rtrain {

/// Lightning's arguments of every profiler.
struct RTRAIN_API ProfilerOptions {
  /// where its files go; default: the first logger's folder, else default_root_dir. A report is written to a
  /// file only if filename is set, too.
  std::filesystem::path dirpath{};
  std::string filename{};  ///< part of the files' names; empty: the report goes to stderr of rank 0
};

/// The run that is measured.
struct RTRAIN_API ProfiledRun {
  Stage function = Stage::kFit;  ///< kFit, kValidate, kTest or kPredict
  int global_rank = 0, local_rank = 0;
  std::filesystem::path log_dir{};  ///< for a dirpath that is not set
  bool uses_gpu = false;
};

/// The base class, which measures nothing (Lightning's PassThroughProfiler). Every rank has one of its own.
/// @thread the training thread.
class RTRAIN_API Profiler {
 public:
  explicit Profiler(ProfilerOptions options = {}) : options_(std::move(options)) {}
  virtual ~Profiler() = default;

  /// The start and end of what `action` names. Actions nest, and end in the reverse order of their start. The
  /// Trainer names its own as Lightning does: "[LightningModule]Net.on_train_start",
  /// "[Callback]EarlyStopping{...}.on_validation_end", "[Strategy]DDPStrategy.backward",
  /// "[_TrainingEpochLoop].train_dataloader_next", "run_training_batch", "run_training_epoch",
  /// "save_checkpoint".
  virtual void start(const std::string& /*action*/) {}
  virtual void stop(const std::string& /*action*/) {}

  /// An action as long as it lives: `const auto timed = trainer().profiler().profile("augment");`
  class [[nodiscard]] Scope {
   public:
    Scope(Profiler& profiler, std::string action) : profiler_(profiler), action_(std::move(action)) {
      profiler_.start(action_);
    }
    ~Scope() { profiler_.stop(action_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Profiler& profiler_;
    std::string action_;
  };
  Scope profile(std::string action) { return {*this, std::move(action)}; }

  /// The report as text; empty: there is none.
  [[nodiscard]] virtual std::string summary() const { return {}; }

  // ---- called by the Trainer ---------------------------------------------------------------------
  /// Before the first hook of a run.
  virtual void setup(const ProfiledRun& run) { run_ = run; }
  /// At the end of a run that did not fail: appends summary() to
  /// dirpath/<fit|validate|test|predict>-<filename>-<local rank>.txt, or writes it to stderr of rank 0.
  /// @throws std::runtime_error the file cannot be written: names it and the cause.
  virtual void describe();
  /// The last call of a run, also of one that failed. @throws nothing
  virtual void teardown() noexcept {}

 protected:
  [[nodiscard]] const ProfiledRun& run() const { return run_; }
  [[nodiscard]] std::string stage_name() const;  ///< "fit", "validate", "test", "predict"
  /// "fit-profile-0"; without a filename "fit-0".
  [[nodiscard]] std::string file_stem() const;
  [[nodiscard]] std::filesystem::path folder() const;  ///< dirpath, or what stands for it

 private:
  ProfilerOptions options_;
  ProfiledRun run_;
};

/// The type of TrainerOptions::profiler: nothing, a name ("simple", "pytorch"), what
/// Names<Profiler>::from_json() takes, a profiler by value, or a shared_ptr of one.
class RTRAIN_API AnyProfiler {
 public:
  AnyProfiler() = default;
  AnyProfiler(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyProfiler(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Profiler> P>
  AnyProfiler(P profiler)  // NOLINT: implicit on purpose
      : profiler_(std::make_shared<P>(std::move(profiler))) {}
  template <std::derived_from<Profiler> P>
  AnyProfiler(std::shared_ptr<P> profiler) : profiler_(std::move(profiler)) {}  // NOLINT: implicit on purpose
  /// @throws std::invalid_argument see Names::from_json().
  template <std::same_as<nlohmann::json> J>
  AnyProfiler(const J& described)  // NOLINT: implicit on purpose
      : profiler_(Names<Profiler>::from_json(described)) {}
  [[nodiscard]] const std::string& name() const { return name_; }  ///< "" if given an object, or nothing
  [[nodiscard]] const std::shared_ptr<Profiler>& get() const { return profiler_; }  ///< null if given a name

 private:
  std::string name_;
  std::shared_ptr<Profiler> profiler_;
};

}  // namespace rtrain
