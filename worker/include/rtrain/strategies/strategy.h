// The base of all strategies, and the one for a single device.
#pragma once

#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/mesh.h>
#include <rtrain/plan.h>

#include <torch/types.h>

#include <functional>
#include <memory>
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
  /// Brings the module to the device, before prepare(). Default: all of it. A strategy that shards leaves the
  /// parameters to prepare(), so that no device ever holds all of them.
  virtual void model_to_device(LightningModule& module);
  /// Called once per run, with the module on its device. @param fitting true if gradients will be needed.
  [[nodiscard]] virtual std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) = 0;
  /// After a run on a GPU, when its Plan is gone: takes the module to the CPU. A strategy that shards leaves
  /// it where it is.
  virtual void teardown(LightningModule& module);

  /// Runs `body` with every parameter of `module` whole on every rank; see full_parameters().
  virtual void with_full_parameters(LightningModule& /*module*/, const std::function<void()>& body) {
    body();
  }
  /// The state of `module` as far as this rank has it, between steps and outside of a run. The tensors are
  /// the module's own; see Plan::module_state().
  [[nodiscard]] virtual StateTree module_state(const LightningModule& module) const;
  /// Runs `body` with module_state(). What it writes into the tensors is kept, without a word to other ranks:
  /// those with the same elements must write the same. Between steps and outside of a run.
  virtual void with_module_state(LightningModule& module, const std::function<void(const StateTree&)>& body);

  // ---- for callbacks and models ------------------------------------------------------------------
  /// True if several ranks train the model together.
  [[nodiscard]] bool is_distributed() const { return !mesh_.world().is_alone(); }
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

}  // namespace rtrain
