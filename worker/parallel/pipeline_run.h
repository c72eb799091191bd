// Takes batches through the stages of a pipeline.
#pragma once

#include "worker/parallel/stage_cut.h"
#include "worker/parallel/stage_links.h"

#include <rtrain/stages.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace rtrain::parallel {

/// @lifetime ranks must outlive it.
/// @thread the training thread.
class PipelineRun : public Stages {
 public:
  PipelineRun(std::shared_ptr<StageCut> cut, Communicator& ranks, ScheduleKind kind, torch::Device device);
  ~PipelineRun() override;
  PipelineRun(const PipelineRun&) = delete;
  PipelineRun& operator=(const PipelineRun&) = delete;

  [[nodiscard]] std::int64_t micro_batches() const override { return cut_->shape().micro_batches; }
  [[nodiscard]] bool has_last() const override { return cut_->rank() + 1 == cut_->shape().ranks; }
  [[nodiscard]] Communicator& ranks() const override { return ranks_; }
  void train(const Batch& batch, const Step& step) override;
  torch::Tensor evaluate(const Batch& batch, const Step& step) override;

 protected:
  [[nodiscard]] StageCut& cut() const { return *cut_; }
  [[nodiscard]] const StageLinks& links() const { return links_; }
  [[nodiscard]] bool is_in_step_backward() const { return in_step_backward_; }

 private:
  /// What lives between forward and backward of a micro-batch in a stage.
  struct Held {
    torch::Tensor input, output;
  };
  void forward(const PipelineAction& action, const Batch& micro_batch, const Step& step, Held& held);
  void run_backward(const PipelineAction& action, const Step& step, const torch::Tensor& output,
                    const torch::Tensor& gradient);
  [[nodiscard]] torch::Tensor last_output();

  std::shared_ptr<StageCut> cut_;
  Communicator& ranks_;
  StageLinks links_;
  std::vector<PipelineAction> training_, evaluation_;
  std::optional<torch::Tensor>
      arrived_;                    ///< what the last stage is to begin with; none: no step of it goes on
  bool in_step_backward_ = false;  ///< Step::backward runs
};

/// The batch in equal parts along the first dimension. A tensor without dimensions is in each.
/// @throws std::invalid_argument it cannot be cut so.
[[nodiscard]] std::vector<Batch> cut_batch(const Batch& batch, std::int64_t parts);

}  // namespace rtrain::parallel
