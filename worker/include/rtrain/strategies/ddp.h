// Data-parallel training: torch.nn.parallel.DistributedDataParallel and Lightning's DDPStrategy.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/comm_hooks.h>
#include <rtrain/strategies/model_averaging.h>
#include <rtrain/strategies/strategy.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// DistributedDataParallel's arguments and defaults, and those of Lightning's DDPStrategy.
struct RTRAIN_API DDPOptions {
  bool broadcast_buffers = true;  ///< broadcast rank 0's buffers before each forward
  /// at the start, check shapes and broadcast rank 0's parameters and buffers
  bool init_sync = true;
  double bucket_cap_mb = 25;  ///< approximate size of a gradient bucket in MiB; > 0
  /// for models in which some parameters get no gradient in some steps; costs a walk of the graph per step
  bool find_unused_parameters = false;
  /// gradients are views of the buckets, which saves a copy; do not detach_() them
  bool gradient_as_bucket_view = false;
  bool static_graph = false;  ///< every step uses the same parameters
  /// of collectives; default: torch_config.timeout_s
  std::optional<std::chrono::milliseconds> timeout{};
  /// How a bucket of gradients is averaged over the ranks; default: a sum that is divided, in the gradients'
  /// own type.
  CommHook ddp_comm_hook{};
  /// With comm_hooks::post_localSGD(), which needs this or model_averaging_hierarchy: optimizer steps
  /// between two averages of the parameters over all ranks; 1 or more.
  std::optional<std::int64_t> model_averaging_period{};
  /// With comm_hooks::post_localSGD(): averages over groups of several sizes (HierarchicalModelAverager).
  std::vector<AveragingLevel> model_averaging_hierarchy{};
  /// What happens when the training streams of the ranks end at different batches. Default: the epoch ends
  /// for all ranks with the first stream that ends. With it the ranks whose streams have ended take part in
  /// the steps of the others with gradients of zero, until the last stream ends. Automatic optimization only,
  /// without sync_batchnorm and without static_graph; it has no effect on loaders that are no streams.
  std::optional<JoinOptions> join{};
};

/// Ray's RayDDPStrategy: data-parallel training on c10d's Reducer, which averages the gradients over the
/// ranks during backward. If all ranks freeze or unfreeze a parameter between two backwards, it leaves or
/// joins the reduction at the next one. With one rank it behaves as SingleDeviceStrategy.
///
/// With comm_hooks::post_localSGD() the ranks' parameters differ between two averages. Validation, what a
/// checkpoint holds as the model, and the module after fit() are then the mean of the ranks' parameters;
/// training goes on from each rank's own. A checkpoint holds those, too, with each rank's optimizer state.
class RTRAIN_API DDPStrategy : public Strategy {
 public:
  DDPStrategy() = default;
  /// @throws std::invalid_argument lists what is out of range or does not go together.
  explicit DDPStrategy(DDPOptions options);
  [[nodiscard]] const DDPOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DDPStrategy"; }
  /// @throws std::runtime_error if the ranks' parameters differ: names the first one that does, its shapes
  ///        and ranks; std::invalid_argument groups that do not fit the number of ranks.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  DDPOptions options_;
};

}  // namespace rtrain
