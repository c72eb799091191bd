// A training step that is captured once and replayed for each batch (docs/rfcs/0005-cuda-graph.md).
#pragma once

#include "worker/run/metrics.h"
#include "worker/step/recorder.h"
#include "worker/step/step_capture.h"

#include <rtrain/batch.h>
#include <rtrain/export.h>
#include <rtrain/optimizer.h>
#include <rtrain/step_output.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace rtrain {

/// The learning rates of an optimizer on the device: what a captured step reads.
class DeviceRates {
 public:
  void make(const Optimizer& optimizer, torch::Device device);
  /// Brings the tensors up to date. Not within a capture.
  void write(const Optimizer& optimizer);
  [[nodiscard]] const std::vector<torch::Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<torch::Tensor> tensors_;  ///< by group
  std::vector<double> written_;
};

/// What a captured step has as constants.
class StepConstants {
 public:
  void take(const torch::nn::Module& module, const Optimizer& optimizer);
  /// What is another now, for a message; empty: nothing.
  [[nodiscard]] std::string changed(const Optimizer& optimizer) const;

 private:
  struct Watched {
    std::string name;
    torch::Tensor tensor;
    const void* address;
    bool requires_grad;
  };
  std::vector<Watched> tensors_;
  std::uint64_t tensor_changes_ = 0;
  std::vector<std::map<std::string, double>> options_;
};

/// Runs the steps of a fit: the first eagerly, later ones from graphs.
/// @thread the training thread. @lifetime what it is given outlives it.
class RTRAIN_API GraphedStep {
 public:
  struct Of {
    Optimizer& optimizer;
    const torch::nn::Module& module;
    torch::Device device;
    MetricBoard* metrics = nullptr;  ///< null: nothing is logged
    /// before a capture, with what is captured: the ranks must do it together
    std::function<void(const std::string&)> meet{};
    std::function<void(const std::string&)> warn{};
  };
  GraphedStep(std::shared_ptr<Recorder> recorder, Of of, const StepCapture::Limits& limits = {});
  ~GraphedStep();
  GraphedStep(const GraphedStep&) = delete;
  GraphedStep& operator=(const GraphedStep&) = delete;

  using Eager = std::function<StepOutput(const Batch&)>;
  /// @param eager the whole step of a batch. A capture keeps a copy.
  /// @throws what `eager` throws; std::runtime_error the step cannot be captured, with the cause.
  StepOutput run(const Batch& batch, const Eager& eager);
  /// Every later step is eager; one warning says why.
  void fall_back(const std::string& reason);
  [[nodiscard]] std::int64_t replays() const { return replays_; }

 private:
  struct Graph;
  [[nodiscard]] Graph* graph_for(const Batch& batch);
  StepOutput warm_up(const Batch& batch, const Eager& eager);
  [[nodiscard]] std::unique_ptr<Graph> capture(const Batch& batch, const Eager& eager);
  StepOutput replay(Graph& graph);
  void tell();

  std::shared_ptr<Recorder> recorder_;
  Of of_;
  StepCapture capture_;
  DeviceRates rates_;
  StepConstants constants_;
  std::vector<std::unique_ptr<Graph>> graphs_;
  std::int64_t replays_ = 0;
  bool told_ = false;
};

}  // namespace rtrain
