// Mixed precision for a loop of one's own: autocast for a block, and a loss scaler for float16. Under the
// Trainer, TrainerOptions::precision does both.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizer.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <vector>

namespace rtrain {

/// torch.autocast(device, dtype) for a block: operations that profit from it compute in `dtype`. Which ones,
/// and which always compute in float32, ATen/autocast_mode.h lists for each kind of device. Goes around
/// forward and loss, not around backward, whose operations take the types of their forward. Blocks can be
/// nested; an exception restores what was there before.
/// @thread affects the calling thread only.
class RTRAIN_API AutocastScope {
 public:
  /// @param dtype kBFloat16 or kHalf. @param cache true: a weight is cast once a block (PyTorch's default);
  ///        false: at each use (Lightning's). A cached cast made without gradients has none later.
  /// @throws std::invalid_argument another dtype.
  AutocastScope(torch::DeviceType device, torch::ScalarType dtype, bool cache = false);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  torch::DeviceType device_;
  bool enabled_before_, cache_before_;
  torch::ScalarType dtype_before_;
};

/// torch.amp.GradScaler's arguments and defaults.
struct RTRAIN_API GradScalerOptions {
  double init_scale = 65536;            ///< greater than 0
  double growth_factor = 2;             ///< greater than 1
  double backoff_factor = 0.5;          ///< between 0 and 1, both excluded
  std::int64_t growth_interval = 2000;  ///< steps without an infinity until the scale grows; 1 or more
};

/// torch.amp.GradScaler: multiplies the loss so that small float16 gradients do not become 0, and leaves out
/// the steps in which they became infinite or NaN.
///
///   scaler.scale(loss).backward();
///   optimizer->step(scaler.inputs_for(*optimizer));  // leaves gradients and inputs unscaled
///   scaler.update();
///
/// Nothing here waits for the device, but state() and get_scale(). Scale and counter live on the device of
/// the first loss.
/// @thread the training thread.
class RTRAIN_API GradScaler {
 public:
  /// @throws std::invalid_argument lists the options that are out of range.
  explicit GradScaler(const GradScalerOptions& options = {});

  /// @return loss times the scale, in float32 or wider.
  [[nodiscard]] torch::Tensor scale(const torch::Tensor& loss);
  /// Divides the gradients of the optimizer's parameters by the scale, in place, so that they can be clipped
  /// or looked at before the step.
  /// @throws std::logic_error a second call before inputs_for(), or no loss was scaled yet.
  ///         std::invalid_argument a gradient has float16, or is not on the device of the loss.
  void unscale(Optimizer& optimizer);
  [[nodiscard]] bool is_unscaled(const Optimizer& optimizer) const { return found_.contains(&optimizer); }
  /// Unscales if unscale() has not. @return what Optimizer::step() takes: found_inf is 1 if a gradient is
  /// infinite or NaN, and such a step changes nothing. An optimizer may step several times before update(),
  /// which torch refuses.
  [[nodiscard]] StepInputs inputs_for(Optimizer& optimizer);
  /// After the steps of all optimizers: scale *= backoff_factor if one of them found an infinity, else
  /// scale *= growth_factor after growth_interval such steps in a row.
  /// @throws std::logic_error no gradients were unscaled since the last update().
  void update();
  /// Forgets what was unscaled and not updated, as after an exception.
  void reset() { found_.clear(), stepped_.clear(); }

  /// Waits for the device.
  [[nodiscard]] double get_scale() const;
  /// torch's state_dict(): scale, growth_factor, backoff_factor, growth_interval, _growth_tracker. Waits for
  /// the device.
  [[nodiscard]] nlohmann::json state() const;
  /// @throws std::invalid_argument a key is missing or out of range; nothing is changed then.
  void load_state(const nlohmann::json& state);

 private:
  void place(torch::Device device);

  GradScalerOptions options_;
  std::int64_t first_tracker_ = 0;                   ///< before place()
  torch::Tensor scale_, tracker_;                    ///< float32 and int32 scalars; undefined before place()
  std::map<const Optimizer*, torch::Tensor> found_;  ///< unscaled, and not stepped yet
  std::vector<torch::Tensor> stepped_;               ///< of steps since the last update()
};

}  // namespace rtrain
