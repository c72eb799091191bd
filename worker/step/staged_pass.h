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
/// logged on every rank of the pipeline. In a mean each micro-batch counts by its batch_size.
/// @thread the training thread. Every rank makes the same calls.
class StagedPass {
 public:
  explicit StagedPass(RunContext& run) : run_(run) {}

  /// Adds the gradients of a batch. @return the mean loss of its micro-batches, divided by the number of
  /// batches of an accumulation; the same on every rank of the pipeline.
  /// Warns once of a loss that is not finite, and names its micro-batch.
  /// @throws std::logic_error training_step returned no loss, or more than a loss; it logged or updated a
  ///         metric object.
  torch::Tensor train(Stages& stages, const Batch& batch, std::int64_t batch_idx);
  using EvaluationStep = torch::Tensor (LightningModule::*)(const Batch&, std::int64_t);
  /// @return the output of the step, on the ranks of the last stage; that of predict_step on every rank.
  torch::Tensor evaluate(Stages& stages, Hook at, EvaluationStep step, const Batch& batch,
                         std::int64_t batch_idx);

 private:
  struct Taped;
  [[nodiscard]] Stages::Step around(std::function<torch::Tensor(const Batch&)> last) const;
  void backward(const torch::Tensor& scaled);
  struct NamedValue {
    LogTape::Line line;  ///< without a value
    torch::ScalarType type;
  };
  [[nodiscard]] static std::vector<NamedValue> lines_in(const std::string& text);
  struct Logged {
    const std::vector<LogTape::Line>& lines;
    std::int64_t samples;  ///< of a micro-batch
  };
  /// @param losses those of the micro-batches, of which `loss` is the sum.
  torch::Tensor share(Stages& stages, const Logged& logged, const torch::Tensor& loss,
                      const std::vector<torch::Tensor>& losses);

  RunContext& run_;
  /// Sets of metrics that are logged together, by the checksum of their text: every rank knows them.
  std::map<double, std::vector<NamedValue>> logged_;
  bool warned_of_loss_ = false;
};

}  // namespace rtrain
