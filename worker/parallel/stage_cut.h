// A module of which this rank has some stages.
#pragma once

#include "worker/parallel/pipeline_schedule.h"
#include "worker/sharding/intercept.h"

#include <rtrain/communicator.h>
#include <rtrain/lightning_module.h>
#include <rtrain/parallel/pipeline.h>
#include <rtrain/state_tree.h>

#include <torch/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::parallel {

/// Takes the memory of the parameters away that only stages of other ranks read; they keep their shape, and
/// reading one is an error. Buffers keep theirs.
/// @thread the training thread, and the threads of autograd while it waits for them.
class StageCut final : private sharding::Watcher {
 public:
  /// A parameter or buffer of the module, under one of its names.
  struct Member {
    std::string name;
    torch::Tensor tensor;
    bool is_parameter = true;
    bool is_here = true;     ///< a stage of this rank reads it
    std::vector<int> ranks;  ///< of the pipeline that have it, ascending
    /// What this rank has of it: all of what it holds, or no element. A leaf.
    StatePiece piece{};
  };

  /// @param who "ModelParallelStrategy", for messages. @param rank of the pipeline.
  /// @throws std::invalid_argument the module is no PipelineModule, has fewer layers than stages, a parameter
  /// that
  ///         no layer names; std::runtime_error one that an earlier run has left without memory.
  StageCut(std::string who, LightningModule& module, const PipelineShape& shape, int rank,
           torch::Device device);
  ~StageCut() override;
  StageCut(const StageCut&) = delete;
  StageCut& operator=(const StageCut&) = delete;

  [[nodiscard]] const PipelineShape& shape() const { return shape_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] PipelineModule& module() const { return *module_; }
  [[nodiscard]] bool is_of(const LightningModule& other) const {
    return dynamic_cast<const PipelineModule*>(&other) == module_;
  }
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  /// Null: it is none of the module's.
  [[nodiscard]] const Member* find(const torch::Tensor& tensor) const;
  [[nodiscard]] StateTree state() const;
  /// Runs the layers of a stage of this rank.
  [[nodiscard]] torch::Tensor run(int stage, torch::Tensor x) const;

  /// What this rank has goes to another device.
  void to(torch::Device device);
  /// Runs `body` with all parameters. A collective of the pipeline.
  void with_whole(Communicator& pipeline, const std::function<void()>& body);

 private:
  void before_use(std::span<const sharding::Use> uses, std::string_view op) override;
  void drop(std::size_t number);
  [[nodiscard]] std::string own_stages() const;
  void find_readers(const LightningModule& of);

  std::string who_;
  PipelineModule* module_;
  PipelineShape shape_;
  int rank_;
  torch::Device device_;
  PipelineLayers layers_;
  std::vector<std::size_t> cuts_;  ///< the first layer of each stage, and the number of layers
  std::vector<Member> members_;
  std::map<const void*, std::size_t> by_tensor_;  ///< by TensorImpl
  std::map<std::size_t, c10::Storage> dropped_;   ///< without memory, by member
  bool is_whole_ = false;
};

}  // namespace rtrain::parallel
