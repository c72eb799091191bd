// The number types of a run: Lightning's precision plugins.
#pragma once

#include <rtrain/amp.h>
#include <rtrain/batch.h>
#include <rtrain/cluster_environment.h>
#include <rtrain/export.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace torch::nn {
class Module;
}

namespace rtrain {

class Plan;

/// Whatever undoes itself when it is destroyed; null: nothing to undo.
using PrecisionScope = std::shared_ptr<void>;

/// What a Trainer does about number types. This class is "32-true": nothing is converted. A class of one's
/// own overrides what differs, and is given as TrainerOptions::precision, in plugins, or by a name
/// (RTRAIN_REGISTER(Precision, "mine", Mine)).
///
/// The order in a run: configure_model within init_scope(), convert_module(). In a batch: convert_input(),
/// the step within forward_scope(), and in training scale(), backward. In an optimizer step: unscale(), the
/// hook on_before_optimizer_step, clipping, step(), and update() once all optimizers have stepped.
/// @thread the training thread. @lifetime the Trainer keeps it; its state outlives a run.
class RTRAIN_API Precision : public Plugin {
 public:
  /// As in TrainerOptions::precision and checkpoints.
  [[nodiscard]] std::string name() const override { return "32-true"; }

  /// Around configure_model().
  [[nodiscard]] virtual PrecisionScope init_scope() { return nullptr; }
  /// Once per run, with the module on its first device, before weights are read from a checkpoint.
  virtual void convert_module(torch::nn::Module& /*module*/) {}
  /// Before on_before_batch_transfer().
  [[nodiscard]] virtual Batch convert_input(Batch batch) { return batch; }
  /// Around training_step, validation_step, test_step and predict_step, and nothing else.
  [[nodiscard]] virtual PrecisionScope forward_scope(torch::Device /*device*/) { return nullptr; }
  /// Once per fit for each optimizer. @throws std::invalid_argument if it cannot be used.
  virtual void require_supported(const Optimizer& /*optimizer*/) const {}

  /// @return what backward starts from; on_before_backward() gets it.
  [[nodiscard]] virtual torch::Tensor scale(const torch::Tensor& loss) { return loss; }
  /// Undoes scale() in the gradients of the optimizer's parameters, once for each step however often it is
  /// called. Under automatic optimization it is not called for a step without gradients, nor are step() and
  /// update().
  virtual void unscale(Optimizer& /*optimizer*/) {}
  /// Steps through `plan`, and unscales if unscale() was not called.
  virtual void step(Plan& plan, Optimizer& optimizer);
  virtual void update() {}

  /// Part of the checkpoint; null: nothing.
  [[nodiscard]] virtual nlohmann::json state() const { return nullptr; }
  /// @throws std::invalid_argument what does not fit.
  virtual void load_state(const nlohmann::json& /*state*/) {}
};

/// Parameters, floating-point inputs and new tensors of a step have one type, and so have gradients and the
/// state of optimizers.
class RTRAIN_API OneTypePrecision : public Precision {
 public:
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] PrecisionScope init_scope() override;
  void convert_module(torch::nn::Module& module) override;
  [[nodiscard]] Batch convert_input(Batch batch) override;
  [[nodiscard]] PrecisionScope forward_scope(torch::Device device) override;

 protected:
  OneTypePrecision(std::string name, torch::ScalarType dtype) : name_(std::move(name)), dtype_(dtype) {}

 private:
  std::string name_;
  torch::ScalarType dtype_;
};

/// "64-true": float64.
class RTRAIN_API DoublePrecision : public OneTypePrecision {
 public:
  DoublePrecision() : OneTypePrecision("64-true", torch::kFloat64) {}
};

/// "bf16-true" or "16-true": bfloat16 or float16.
class RTRAIN_API HalfPrecision : public OneTypePrecision {
 public:
  /// @throws std::invalid_argument another name.
  explicit HalfPrecision(const std::string& precision = "16-true");
};

/// "bf16-mixed" or "16-mixed": the steps run under autocast; parameters, gradients and the state of
/// optimizers keep float32. "16-mixed" scales the loss. A step that finds an infinity changes no parameter,
/// and is counted in global_step all the same; schedulers step.
class RTRAIN_API MixedPrecision : public Precision {
 public:
  /// @param scaler of "16-mixed"; default: GradScalerOptions().
  /// @throws std::invalid_argument another name, or a scaler for "bf16-mixed".
  explicit MixedPrecision(const std::string& precision, std::optional<GradScalerOptions> scaler = {});
  [[nodiscard]] std::string name() const override { return name_; }
  void convert_module(torch::nn::Module& module) override;
  [[nodiscard]] PrecisionScope forward_scope(torch::Device device) override;
  /// LBFGS needs the loss anew within a step, which a scaler does not survive.
  void require_supported(const Optimizer& optimizer) const override;
  [[nodiscard]] torch::Tensor scale(const torch::Tensor& loss) override;
  void unscale(Optimizer& optimizer) override;
  void step(Plan& plan, Optimizer& optimizer) override;
  void update() override;
  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;
  /// Null with "bf16-mixed".
  [[nodiscard]] const GradScaler* scaler() const { return scaler_ ? &*scaler_ : nullptr; }

 private:
  std::string name_;
  torch::ScalarType dtype_;
  std::optional<GradScaler> scaler_;
};

/// The type of TrainerOptions::precision: a name, one of the numbers 16, 32 and 64, a precision by value, or
/// a shared_ptr of one.
class RTRAIN_API AnyPrecision {
 public:
  AnyPrecision() = default;
  AnyPrecision(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyPrecision(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  AnyPrecision(int bits) : name_(std::to_string(bits)) {}     // NOLINT: implicit on purpose
  template <std::derived_from<Precision> P>
  AnyPrecision(P precision)  // NOLINT: implicit on purpose
      : precision_(std::make_shared<P>(std::move(precision))) {}
  template <std::derived_from<Precision> P>
  AnyPrecision(std::shared_ptr<P> precision)  // NOLINT: implicit on purpose
      : name_(precision ? "" : "null"), precision_(std::move(precision)) {}
  [[nodiscard]] bool is_set() const { return precision_ != nullptr || !name_.empty(); }
  [[nodiscard]] const std::string& name() const { return name_; }  ///< "" if given an object
  [[nodiscard]] const std::shared_ptr<Precision>& get() const {
    return precision_;
  }  ///< null if given a name

 private:
  std::string name_;
  std::shared_ptr<Precision> precision_;
};

}  // namespace rtrain
