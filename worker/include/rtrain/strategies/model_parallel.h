// Tensor, context and pipeline parallelism: Lightning's ModelParallelStrategy.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/ddp.h>
#include <rtrain/strategies/strategy.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace rtrain {

namespace parallel {
class StageCut;  // internal to the SDK
}

/// How many ranks share what. The product of the four sizes is the number of ranks of the job. Neighbouring
/// ranks, which share a node, are of one tensor-parallel group; those of a pipeline are farthest apart.
struct RTRAIN_API ModelParallelOptions {
  /// Groups of ranks that read different data. Default: as many as the job has ranks for.
  std::optional<int> data_parallel_size{};
  int tensor_parallel_size = 1;   ///< ranks that each hold a part of the parallel layers' matrices; 1 or more
  int context_parallel_size = 1;  ///< ranks that each hold a part of every sequence; 1 or more
  /// Ranks that each hold consecutive layers of a PipelineModule; 1 or more. 1: all layers compute a batch at
  /// once, and the three options below have no effect.
  int pipeline_parallel_size = 1;
  /// Parts of equal size that each training batch is cut into along its first dimension; 1 or more. Default:
  /// as many as a pipeline has ranks. The share of a step in which a rank waits is about
  /// (pipeline_parallel_size - 1) / num_microbatches, divided by virtual_stages with "interleaved".
  std::optional<std::int64_t> num_microbatches{};
  /// In which order a rank computes its micro-batches. "1f1b": backward as early as possible, so that a rank
  /// keeps the activations of at most pipeline_parallel_size of them. "interleaved": the same with several
  /// stages a rank, for a smaller wait, more messages and more activations; num_microbatches is a multiple of
  /// pipeline_parallel_size. "gpipe": all forwards, then all backwards.
  std::string schedule = "1f1b";
  int virtual_stages = 2;               ///< stages of each rank with "interleaved"; 2 or more
  bool broadcast_buffers = true;        ///< as DDPOptions, over the ranks that hold the same parameters
  double bucket_cap_mb = 25;            ///< as DDPOptions
  bool find_unused_parameters = false;  ///< as DDPOptions
  /// of collectives; default: torch_config.timeout_s
  std::optional<std::chrono::milliseconds> timeout{};
};

/// Trains a model of parallel layers (rtrain/parallel.h), which the module makes in configure_model() with
/// the groups of its device_mesh(). Ranks of one tensor or context group read the same batches. Gradients are
/// averaged over the ranks that read different data or different parts of the sequences; the norm for
/// clipping is that of the whole model. Checkpoints hold whole tensors, and any sizes go on from them.
///
/// A pipeline cuts the layers of a PipelineModule into stages. Each rank makes the whole model, and keeps the
/// parameters of its stages; reading another one is an error that names it. Gradients of a parameter that
/// several stages read are summed. find_unused_parameters and bucket_cap_mb have no effect then.
///
/// At the start the ranks take over the parameters and buffers of the first rank that holds the same ones,
/// and the ranks of a tensor group the states of the random generators of their first rank, so that they drop
/// out the same elements.
class RTRAIN_API ModelParallelStrategy : public Strategy {
 public:
  ModelParallelStrategy() = default;
  /// @throws std::invalid_argument lists what is out of range.
  explicit ModelParallelStrategy(ModelParallelOptions options);
  [[nodiscard]] const ModelParallelOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "ModelParallelStrategy"; }
  /// @throws std::invalid_argument the sizes are not those of `world_size` ranks (names all numbers).
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  /// With a pipeline: cuts the module, and takes the memory of the parameters of other stages away.
  /// @throws std::invalid_argument the module is no PipelineModule, or cannot be cut into as many stages.
  void model_to_device(LightningModule& module) override;
  /// @throws std::runtime_error the ranks' models differ.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;
  void teardown(LightningModule& module) override;
  /// With a pipeline, the parameters of other stages come over the network, and go afterwards.
  void with_full_parameters(LightningModule& module, const std::function<void()>& body) override;
  [[nodiscard]] StateTree module_state(const LightningModule& module) const override;

 private:
  [[nodiscard]] std::unique_ptr<Plan> prepare_stages(LightningModule& module, bool fitting);
  ModelParallelOptions options_;
  std::shared_ptr<DDPStrategy> replicas_;
  std::shared_ptr<parallel::StageCut> cut_;  ///< null: there are no stages
};

}  // namespace rtrain
