// What a step logs, kept to be logged again.
#pragma once

#include "worker/run/hook.h"

#include <rtrain/lightning_module.h>

#include <ATen/ops/scalar_tensor.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace rtrain {

/// A number, or a scalar tensor that has not been read yet (reading one on a GPU waits for it).
struct MetricValue {
  torch::Tensor tensor;  ///< if undefined, `number` is the value
  double number = 0;
  [[nodiscard]] double item() const;
};
/// What a step that is captured logs. After each replay it is logged again, from the tensors that the replay
/// has written. What is no tensor of the device would stay what it was at the capture: that is a fault.
class LogTape {
 public:
  /// kListens: values are logged as always, and looked at. kKeeps: they are kept, and not logged. kCarries:
  /// the same, also of numbers and of tensors on any device.
  enum class Mode { kListens, kKeeps, kCarries };
  explicit LogTape(Mode mode, torch::Device device) : mode_(mode), device_(device) {}

  struct Line {
    Hook hook;
    std::string name;
    torch::Tensor value;  ///< a scalar of the device; with kCarries of any
    LogOptions options;
  };
  /// @return true: it is kept, and the caller logs nothing.
  bool takes(Hook hook, const std::string& name, const MetricValue& value, const LogOptions& options) {
    if (mode_ == Mode::kCarries) {
      lines_.push_back({hook, name,
                        value.tensor.defined() ? value.tensor.detach().clone()
                                               : at::scalar_tensor(value.number, at::kDouble),
                        options});
      return true;
    }
    if (!value.tensor.defined())
      add_fault("log(\"" + name +
                "\") of a number: log a tensor of the device, or log it in on_train_batch_end");
    else if (value.tensor.device().type() != device_.type())
      add_fault("log(\"" + name + "\") of a tensor on " + value.tensor.device().str() +
                ": log one of the device, or log it in on_train_batch_end");
    if (mode_ == Mode::kListens) return false;
    // One that autograd made is nobody's to change; another may change later in the step.
    const bool own = value.tensor.defined() && value.tensor.grad_fn() != nullptr;
    if (value.tensor.defined())
      lines_.push_back({hook, name, own ? value.tensor.detach() : value.tensor.detach().clone(), options});
    return true;
  }
  /// @return true: it is not to be logged.
  bool refuses(std::string fault) {
    add_fault(std::move(fault));
    return mode_ != Mode::kListens;
  }
  /// The first one counts.
  void add_fault(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }  ///< empty: none
  [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }
  void clear() { lines_.clear(), fault_.clear(); }

 private:
  Mode mode_;
  torch::Device device_;
  std::vector<Line> lines_;
  std::string fault_;
};

}  // namespace rtrain
