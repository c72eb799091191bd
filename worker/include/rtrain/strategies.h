// How the ranks of a job train one model together.
#pragma once

#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/optim.h>

#include <torch/types.h>

#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// The Trainer's view of parallel training. One step is: before_forward, the model's step, backward, and,
/// when gradients are complete, the optimizer. `sync` is false for the batches of a gradient accumulation but
/// the last.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API Strategy {
 public:
  virtual ~Strategy() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// True when the ranks read different parts of the data.
  [[nodiscard]] virtual bool is_distributed() const { return false; }

  /// Once a run, with the module on its device. `fitting`: gradients will be needed.
  virtual void setup(LightningModule& module, bool fitting) = 0;
  virtual void teardown() = 0;
  virtual void before_forward(bool sync) = 0;
  /// Gradients of `loss` (scaled already), averaged over the ranks when `sync`.
  virtual void backward(const torch::Tensor& loss, bool sync) = 0;
  virtual void zero_grad(const std::vector<torch::Tensor>& parameters) = 0;

  enum class Reduce { kSum, kMean, kMin, kMax };
  /// In place, over all ranks.
  virtual void reduce(torch::Tensor& value, Reduce op) = 0;
  /// Rank 0's value.
  [[nodiscard]] virtual std::string broadcast(const std::string& value) = 0;
  virtual void barrier() = 0;
  /// Every rank's `value`, by rank; shape and type are the same on all of them.
  [[nodiscard]] virtual std::vector<torch::Tensor> all_gather(const torch::Tensor& value);
  /// Before a call that all ranks must make and that one can make alone by mistake: returns when every rank
  /// has come to the same `place`. @throws std::runtime_error names the ranks that are elsewhere, and where,
  /// within seconds.
  virtual void meet(const std::string& /*place*/) {}
  /// Averages the gradients that `parameters` have over the ranks outside of backward(), for an accumulation
  /// whose last batch had no loss. A rank without a gradient counts as zero; a parameter without a gradient
  /// on every rank stays without one.
  virtual void reduce_gradients(const std::vector<torch::Tensor>& parameters);
  /// All ranks (or, with `all` false, any rank) decide for true.
  [[nodiscard]] bool reduce_boolean_decision(bool decision, bool all = true);

  /// Where this rank's module lies and its collectives work; set by the Trainer before setup().
  [[nodiscard]] torch::Device device() const { return device_; }
  void set_device(torch::Device device) { device_ = device; }

 private:
  torch::Device device_ = torch::kCPU;
};

/// One process, one device.
class RTRAIN_API SingleDeviceStrategy : public Strategy {
 public:
  [[nodiscard]] std::string name() const override { return "SingleDeviceStrategy"; }
  void setup(LightningModule& module, bool fitting) override;
  void teardown() override {}
  void before_forward(bool) override {}
  void backward(const torch::Tensor& loss, bool sync) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  void reduce(torch::Tensor&, Reduce) override {}
  [[nodiscard]] std::string broadcast(const std::string& value) override { return value; }
  void barrier() override {}
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
  bool static_graph = false;                           ///< the same parameters are used in every step
  std::optional<std::chrono::milliseconds> timeout{};  ///< of collectives; left out: torch_config.timeout_s
};

/// Ray's RayDDPStrategy: data parallel training on c10d's Reducer; gradients are averaged over the ranks
/// while backward runs. Parameters that every rank freezes or unfreezes between two backwards leave or join
/// the sums with the next one. With one rank it is the single device strategy.
class RTRAIN_API DDPStrategy : public Strategy {
 public:
  DDPStrategy();
  /// @throws std::invalid_argument bucket_cap_mb or timeout not positive.
  explicit DDPStrategy(DDPOptions options);
  DDPStrategy(DDPStrategy&&) noexcept;
  ~DDPStrategy() override;
  [[nodiscard]] const DDPOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DDPStrategy"; }
  [[nodiscard]] bool is_distributed() const override;
  /// @throws std::runtime_error the ranks' parameters differ: names the first parameter, its shapes and
  /// ranks.
  void setup(LightningModule& module, bool fitting) override;
  void teardown() override;
  void before_forward(bool sync) override;
  void backward(const torch::Tensor& loss, bool sync) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  void reduce(torch::Tensor& value, Reduce op) override;
  [[nodiscard]] std::string broadcast(const std::string& value) override;
  void barrier() override;
  [[nodiscard]] std::vector<torch::Tensor> all_gather(const torch::Tensor& value) override;
  void meet(const std::string& place) override;

 private:
  struct Wrapped;  // the module, its buckets and the Reducer
  DDPOptions options_;
  std::unique_ptr<Wrapped> wrapped_;
};

/// TrainerOptions::strategy: "auto" (DDP when the job has several ranks, else a single device), "ddp",
/// "single_device", a strategy by value, or a shared_ptr of one.
class RTRAIN_API AnyStrategy {
 public:
  AnyStrategy(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyStrategy(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Strategy> S>
  AnyStrategy(S strategy)
      : strategy_(std::make_shared<S>(std::move(strategy))) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Strategy> S>
  AnyStrategy(std::shared_ptr<S> strategy) : strategy_(std::move(strategy)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& name() const { return name_; }               ///< "" for an object
  [[nodiscard]] const std::shared_ptr<Strategy>& get() const { return strategy_; }  ///< null for a name

 private:
  std::string name_;
  std::shared_ptr<Strategy> strategy_;
};

}  // namespace rtrain
