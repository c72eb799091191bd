// Logs the memory of the device and the load of the machine: Lightning's DeviceStatsMonitor.
#pragma once

#include <rtrain/callback.h>

#include <optional>
#include <string>

namespace rtrain {

/// Logs before and after each training batch whose step metrics are logged (log_every_n_steps), on rank 0,
/// as "DeviceStatsMonitor.on_train_batch_end/<name>": on a GPU the counters of the allocator under PyTorch's
/// names ("allocated_bytes.all.current", in bytes); of the CPU "cpu_vm_percent" and "cpu_swap_percent" (used
/// memory and swap) and "cpu_percent" (busy since the value before; the first is of the time since boot).
class RTRAIN_API DeviceStatsMonitor : public Callback {
 public:
  /// @param cpu_stats default: only where the device is the CPU.
  explicit DeviceStatsMonitor(std::optional<bool> cpu_stats = {}) : cpu_stats_(cpu_stats) {}

  /// @throws std::invalid_argument the Trainer has no logger.
  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_batch_start(Trainer& trainer, LightningModule& module, const Batch& batch,
                            std::int64_t batch_idx) override;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;

 private:
  void log_stats(Trainer& trainer, const std::string& hook);

  std::optional<bool> cpu_stats_;
  double busy_before_ = 0, total_before_ = 0;
};

}  // namespace rtrain
