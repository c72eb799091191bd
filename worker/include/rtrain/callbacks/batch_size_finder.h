// Looks for the largest batch that fits into memory: Lightning's BatchSizeFinder.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <functional>
#include <string>

namespace rtrain {

/// Lightning's arguments and defaults, without batch_arg_name: set_batch_size() says what to change.
struct RTRAIN_API BatchSizeFinderOptions {
  std::string mode = "power";        ///< doubles until memory runs out; "binsearch": then halves the gap, too
  std::int64_t steps_per_trial = 3;  ///< 1 or more
  std::int64_t init_val = 2;         ///< 1 or more
  std::int64_t max_trials = 25;      ///< 1 or more
  double margin = 0.05;              ///< "binsearch" leaves so much of what it found, in [0, 1)
  std::int64_t max_val = 8192;       ///< no size is above
};

/// In on_fit_start it trains some batches of each size, and takes back all that this did. The data comes from
/// train_dataloader() of the data module or the module, after their set_batch_size(). On one rank. Not under
/// fast_dev_run, nor in a fit that resumes.
class RTRAIN_API BatchSizeFinder : public Callback {
 public:
  /// @throws std::invalid_argument lists what is out of range.
  explicit BatchSizeFinder(BatchSizeFinderOptions options = {});
  /// @throws std::invalid_argument several ranks, or loaders that were passed to fit().
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kTuner; }
  /// What the latest fit trains with; 0 before.
  [[nodiscard]] std::int64_t optimal_batch_size() const { return optimal_; }

 private:
  BatchSizeFinderOptions options_;
  std::int64_t optimal_ = 0;
};

/// The search alone. @param fits trains with a size and says whether memory was enough; called with sizes
/// from 1 to max_val. @return the largest that fits, less the margin of "binsearch"; 0: none does.
[[nodiscard]] RTRAIN_API std::int64_t largest_batch_size(const BatchSizeFinderOptions& options,
                                                         const std::function<bool(std::int64_t)>& fits);

}  // namespace rtrain
