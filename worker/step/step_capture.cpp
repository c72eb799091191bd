#include "worker/step/step_capture.h"

namespace rtrain {

StepMode StepCapture::next(bool has_graph) {
  if (refused_) return StepMode::kEager;
  if (has_graph) return StepMode::kReplay;
  if (warmed_ < limits_.warmup) {
    ++warmed_;
    return StepMode::kWarmup;
  }
  if (captures_ < limits_.captures) {
    ++captures_;
    return StepMode::kCapture;
  }
  if (reason_.empty())
    reason_ = "the batches have more than " + std::to_string(limits_.captures) +
              " shapes or types: batches of one shape (drop_last, padding) need one graph";
  return StepMode::kEager;
}

void StepCapture::restart(const std::string& what) {
  warmed_ = captures_ = 0;
  if (++restarts_ > limits_.restarts) refuse(what + ", " + std::to_string(restarts_) + " times");
}

void StepCapture::refuse(std::string reason) {
  if (!refused_) reason_ = std::move(reason);
  refused_ = true;
}

}  // namespace rtrain
