// How the ranks of a job train one model together.
#pragma once

#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/mesh.h>
#include <rtrain/plan.h>

#include <torch/types.h>

#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// A way to train a module, chosen by name or as an object with options. prepare() makes the Plan that runs
/// the steps of one run.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API Strategy {
 public:
  virtual ~Strategy() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// How the ranks are arranged. The product of the degrees is `world_size`, or 1 if each rank trains a model
  /// of its own. Default: all ranks are replicas.
  [[nodiscard]] virtual ParallelDegrees degrees(int world_size) const;
  /// Called once per run, with the module on its device. @param fitting true if gradients will be needed.
  [[nodiscard]] virtual std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) = 0;

  // ---- for callbacks and models ------------------------------------------------------------------
  /// True if the ranks read different parts of the data.
  [[nodiscard]] bool is_distributed() const { return mesh_.data().size > 1; }
  enum class Reduce { kSum, kMean, kMin, kMax };
  /// Reduces `value` in place over the ranks that read different data.
  void reduce(torch::Tensor& value, Reduce op);
  /// Returns rank 0's value.
  [[nodiscard]] std::string broadcast(const std::string& value);
  void barrier() { mesh_.world().barrier(); }
  /// Returns every rank's `value`, indexed by rank; shape and type must be the same on all ranks.
  [[nodiscard]] std::vector<torch::Tensor> all_gather(const torch::Tensor& value);
  /// Guards a call that all ranks must make and one could make alone by mistake: returns once every rank has
  /// reached the same `place`. @throws std::runtime_error within seconds if the ranks are at different
  /// places: names the ranks and their places.
  void meet(const std::string& place) { mesh_.world().meet(place); }
  /// True if `decision` is true on all ranks (on any rank if `all` is false).
  [[nodiscard]] bool reduce_boolean_decision(bool decision, bool all = true);

  [[nodiscard]] Mesh& mesh() { return mesh_; }
  /// The device of this rank's module and collectives.
  [[nodiscard]] torch::Device device() const { return device_; }
  /// Called by the Trainer before anything else.
  void connect(Mesh mesh, torch::Device device);

 private:
  Mesh mesh_;
  torch::Device device_ = torch::kCPU;
};

/// Trains on one device. In a job with several ranks, each trains a model of its own.
class RTRAIN_API SingleDeviceStrategy : public Strategy {
 public:
  [[nodiscard]] std::string name() const override { return "SingleDeviceStrategy"; }
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;
};

/// torch.nn.parallel.DistributedDataParallel's arguments and defaults.
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
};

/// Ray's RayDDPStrategy: data-parallel training on c10d's Reducer, which averages the gradients over the
/// ranks during backward. If all ranks freeze or unfreeze a parameter between two backwards, it leaves or
/// joins the reduction at the next one. With one rank it behaves as SingleDeviceStrategy.
class RTRAIN_API DDPStrategy : public Strategy {
 public:
  DDPStrategy() = default;
  /// @throws std::invalid_argument if bucket_cap_mb or timeout is not positive.
  explicit DDPStrategy(DDPOptions options);
  [[nodiscard]] const DDPOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DDPStrategy"; }
  /// @throws std::runtime_error if the ranks' parameters differ: names the first one that does, its shapes
  ///        and ranks.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  DDPOptions options_;
};

/// The type of TrainerOptions::strategy: "auto" (DDP if the job has several ranks, else a single device), a
/// name (strategy_names() lists them), a strategy by value, or a shared_ptr of one.
class RTRAIN_API AnyStrategy {
 public:
  AnyStrategy(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyStrategy(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Strategy> S>
  AnyStrategy(S strategy)  // NOLINT: implicit on purpose
      : strategy_(std::make_shared<S>(std::move(strategy))) {}
  template <std::derived_from<Strategy> S>
  AnyStrategy(std::shared_ptr<S> strategy) : strategy_(std::move(strategy)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& name() const { return name_; }               ///< "" if given an object
  [[nodiscard]] const std::shared_ptr<Strategy>& get() const { return strategy_; }  ///< null if given a name

 private:
  std::string name_;
  std::shared_ptr<Strategy> strategy_;
};

}  // namespace rtrain
