// A batch of a pipeline: the module's step runs on the ranks of the last stage, and the others learn of it.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/stages.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

/// What the step logs of the micro-batches of a batch becomes one value, by the metric's reduce_fx, and is
/// logged on every rank of the pipeline.
/// @thread the training thread. Every rank makes the same calls.
class StagedPass {
 public:
  explicit StagedPass(RunContext& run) : run_(run) {}

  /// Adds the gradients of a batch. @return the mean loss of its micro-batches, divided by the number of
  /// batches of an accumulation; the same on every rank of the pipeline.
  /// @throws std::logic_error training_step returned no loss, or more than a loss; it logged a metric object.
  torch::Tensor train(Stages& stages, const Batch& batch, std::int64_t batch_idx);
  using EvaluationStep = torch::Tensor (LightningModule::*)(const Batch&, std::int64_t);
  /// @return the output of the step, on the ranks of the last stage; that of predict_step on every rank.
  torch::Tensor evaluate(Stages& stages, Hook at, EvaluationStep step, const Batch& batch,
                         std::int64_t batch_idx);

 private:
  struct Taped;
  [[nodiscard]] Stages::Step around(std::function<torch::Tensor(const Batch&)> last) const;
  torch::Tensor share(Stages& stages, const std::vector<LogTape::Line>& lines, const torch::Tensor& loss);

  RunContext& run_;
  std::map<double, std::string>
      texts_;  ///< what sets of metrics are logged, by checksum: every rank knows them
};

}  // namespace rtrain
