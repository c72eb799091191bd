// Ends a fit whose loss jumps: Lightning's SpikeDetection.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain {

/// Thrown on every rank by SpikeDetection.
class RTRAIN_API TrainingSpike : public std::runtime_error {
 public:
  explicit TrainingSpike(std::int64_t batch_idx);
  [[nodiscard]] std::int64_t batch_idx() const { return batch_idx_; }

 private:
  std::int64_t batch_idx_;
};

/// Lightning's arguments and defaults.
struct RTRAIN_API SpikeDetectionOptions {
  std::string mode = "min";          ///< or "max": which way the loss gets better
  std::int64_t window = 10;          ///< losses in the running mean; 1 or more
  std::int64_t warmup = 1;           ///< batches of an epoch that are not looked at
  std::optional<double> atol{};      ///< a spike differs from the mean by this much or more
  std::optional<double> rtol = 2.0;  ///< and by this part of the mean or more
  /// a file that ends in ".json", or the folder of skip_batches.json; default: default_root_dir
  std::filesystem::path exclude_batches_path{};
  bool finite_only = true;  ///< a loss that is not finite is a spike; false: it is left out of the mean
};

/// A loss that is worse than the one before and far from the mean of the last ones, on any rank, ends the
/// fit: the numbers of the batch and of the one before are added to the file (a JSON list), and TrainingSpike
/// is thrown. The loss is read after each batch, which waits for a GPU; with several ranks they agree each
/// time.
class RTRAIN_API SpikeDetection : public Callback {
 public:
  /// @throws std::invalid_argument lists every problem of the options.
  explicit SpikeDetection(SpikeDetectionOptions options = {});
  /// Whether this loss would be a spike on this rank.
  [[nodiscard]] bool is_spike(double loss) const;
  [[nodiscard]] const std::vector<std::int64_t>& bad_batches() const { return bad_batches_; }

  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;

 private:
  SpikeDetectionOptions options_;
  double last_ = 0;
  std::deque<double> window_;
  std::vector<std::int64_t> bad_batches_;
};

}  // namespace rtrain
