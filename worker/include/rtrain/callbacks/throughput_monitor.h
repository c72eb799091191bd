// Logs how much a training gets through: Lightning's ThroughputMonitor.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

namespace rtrain {

struct RTRAIN_API ThroughputMonitorOptions {
  /// samples of a batch; default: Batch::size()
  std::function<std::int64_t(const Batch&)> batch_size_fn{};
  /// items of a batch, such as its tokens; default: items are not counted
  std::function<std::int64_t(const Batch&)> length_fn{};
  std::int64_t window_size = 100;  ///< batches that a rate is over; 2 or more
  std::string separator = "/";     ///< between the parts of a name
  /// floating-point operations of a batch on one rank, forward and backward; 0: not known
  double flops_per_batch = 0;
  /// that the device can do in a second; 0: peak_flops() of it, if it is known
  double available_flops = 0;
};

/// Logs every log_every_n_steps, on rank 0, by the batches of the latest window:
/// "train/device/batches_per_sec", "train/device/samples_per_sec", "train/device/items_per_sec",
/// "train/device/flops_per_sec" and "train/device/mfu" (the part of available_flops); with several ranks the
/// same of all of them without "device/"; and "train/time" (seconds of training), "train/batches",
/// "train/samples", "train/lengths" so far. Rates come once a window is full. Validation counts for nothing.
class RTRAIN_API ThroughputMonitor : public Callback {
 public:
  /// @throws std::invalid_argument lists what is out of range.
  explicit ThroughputMonitor(ThroughputMonitorOptions options = {});
  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_start(Trainer& trainer, LightningModule& module) override;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  void on_validation_start(Trainer& trainer, LightningModule& module) override;
  void on_validation_end(Trainer& trainer, LightningModule& module) override;

 protected:
  /// Seconds of a clock that only goes forward.
  [[nodiscard]] virtual double now() const;

 private:
  struct Mark {
    double time = 0;
    std::int64_t batches = 0, samples = 0, lengths = 0;
  };
  ThroughputMonitorOptions options_;
  double started_ = 0, validation_began_ = 0;
  Mark total_;
  std::deque<Mark> window_;
};

/// Dense peak of a GPU in floating-point operations a second, by the vendor's data sheet.
/// @param device its name, as "NVIDIA H100 80GB HBM3". @param precision as Trainer::precision(); of "32-true"
///        the peak without TF32.
/// @return 0: not known.
[[nodiscard]] RTRAIN_API double peak_flops(const std::string& device, const std::string& precision);

}  // namespace rtrain
