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

/// What a user chooses: a name and options. prepare() makes what is done in each step of one run.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API Strategy {
 public:
  virtual ~Strategy() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// How the ranks of a job are arranged. The product is `world_size`, or 1: then each rank trains a model of
  /// its own. Left alone: all replicate.
  [[nodiscard]] virtual ParallelDegrees degrees(int world_size) const;
  /// Once a run, with the module on its device. @param fitting gradients will be needed.
  [[nodiscard]] virtual std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) = 0;

  // ---- what callbacks and models ask for ---------------------------------------------------------
  /// True when the ranks read different parts of the data.
  [[nodiscard]] bool is_distributed() const { return mesh_.data().size > 1; }
  enum class Reduce { kSum, kMean, kMin, kMax };
  /// In place, over the ranks that read different data.
  void reduce(torch::Tensor& value, Reduce op);
  /// Rank 0's value.
  [[nodiscard]] std::string broadcast(const std::string& value);
  void barrier() { mesh_.world().barrier(); }
  /// Every rank's `value`, by rank; shape and type are the same on all of them.
  [[nodiscard]] std::vector<torch::Tensor> all_gather(const torch::Tensor& value);
  /// Before a call that all ranks must make and that one can make alone by mistake: returns when every rank
  /// has come to the same `place`. @throws std::runtime_error names the ranks that are elsewhere, and where,
  /// within seconds.
  void meet(const std::string& place) { mesh_.world().meet(place); }
  /// All ranks (or, with `all` false, any rank) decide for true.
  [[nodiscard]] bool reduce_boolean_decision(bool decision, bool all = true);

  [[nodiscard]] Mesh& mesh() { return mesh_; }
  /// Where this rank's module lies and its collectives work.
  [[nodiscard]] torch::Device device() const { return device_; }
  /// The Trainer does this, before anything else.
  void connect(Mesh mesh, torch::Device device);

 private:
  Mesh mesh_;
  torch::Device device_ = torch::kCPU;
};

/// One process, one device. In a job with several ranks each trains a model of its own.
class RTRAIN_API SingleDeviceStrategy : public Strategy {
 public:
  [[nodiscard]] std::string name() const override { return "SingleDeviceStrategy"; }
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;
};

/// torch.nn.parallel.DistributedDataParallel's arguments and defaults.
struct RTRAIN_API DDPOptions {
  bool broadcast_buffers = true;  ///< rank 0's buffers before each forward
  /// check shapes and take over rank 0's parameters and buffers at the start
  bool init_sync = true;
  double bucket_cap_mb = 25;  ///< gradients travel in buckets of about this size; > 0
  /// for models where some parameters get no gradient in some steps; costs a walk of the graph
  bool find_unused_parameters = false;
  /// gradients are views of the buckets: one copy less; do not detach_() them
  bool gradient_as_bucket_view = false;
  bool static_graph = false;  ///< the same parameters are used in every step
  /// of collectives; left out: torch_config.timeout_s
  std::optional<std::chrono::milliseconds> timeout{};
};

/// Ray's RayDDPStrategy: data parallel training on c10d's Reducer; gradients are averaged over the ranks
/// while backward runs. Parameters that every rank freezes or unfreezes between two backwards leave or join
/// the sums with the next one. With one rank it is the single device strategy.
class RTRAIN_API DDPStrategy : public Strategy {
 public:
  DDPStrategy() = default;
  /// @throws std::invalid_argument bucket_cap_mb or timeout not positive.
  explicit DDPStrategy(DDPOptions options);
  [[nodiscard]] const DDPOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DDPStrategy"; }
  /// @throws std::runtime_error the ranks' parameters differ: names the first parameter, its shapes and
  ///         ranks.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  DDPOptions options_;
};

/// TrainerOptions::strategy: "auto" (DDP when the job has several ranks, else a single device), a name
/// (strategy_names() lists them), a strategy by value, or a shared_ptr of one.
class RTRAIN_API AnyStrategy {
 public:
  AnyStrategy(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyStrategy(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Strategy> S>
  AnyStrategy(S strategy)  // NOLINT: implicit on purpose
      : strategy_(std::make_shared<S>(std::move(strategy))) {}
  template <std::derived_from<Strategy> S>
  AnyStrategy(std::shared_ptr<S> strategy) : strategy_(std::move(strategy)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& name() const { return name_; }               ///< "" for an object
  [[nodiscard]] const std::shared_ptr<Strategy>& get() const { return strategy_; }  ///< null for a name

 private:
  std::string name_;
  std::shared_ptr<Strategy> strategy_;
};

}  // namespace rtrain
