#include "worker/metrics/class_inputs.h"

#include "worker/metrics/shown.h"

#include <torch/torch.h>

namespace rtrain::metrics {
namespace {

const char* name_of(Task task) {
  switch (task) {
    case Task::kBinary: return "binary";
    case Task::kMulticlass: return "multiclass";
    case Task::kMultilabel: return "multilabel";
  }
  return "";
}

}  // namespace

ClassificationOptions checked(const std::string& name, const ClassificationOptions& o, Problems problems) {
  const auto count = [&](const char* what, std::int64_t value, Task owner) {
    if (o.task == owner) {
      problems.expect(value >= 2, std::string(what) + " is " + std::to_string(value) +
                                      ", expected 2 or more for the task " + name_of(owner));
    } else {
      problems.expect(value == 0, std::string(what) + " is " + std::to_string(value) + ", but the task is " +
                                      name_of(o.task) + ": leave it out, or choose the task " +
                                      name_of(owner));
    }
  };
  count("num_classes", o.num_classes, Task::kMulticlass);
  count("num_labels", o.num_labels, Task::kMultilabel);
  if (o.top_k != 1) {
    problems.expect(o.task == Task::kMulticlass, "top_k is " + std::to_string(o.top_k) +
                                                     ", but the task is " + name_of(o.task) +
                                                     ": only multiclass has a top_k");
    if (o.task == Task::kMulticlass)
      problems.expect(o.top_k >= 1 && o.top_k <= o.num_classes, "top_k is " + std::to_string(o.top_k) +
                                                                    ", expected 1 to num_classes (" +
                                                                    std::to_string(o.num_classes) + ")");
  }
  problems.expect(o.threshold >= 0 && o.threshold <= 1,
                  "threshold is " + shown(o.threshold) + ", expected a probability, 0 to 1");
  problems.expect(o.zero_division == 0 || o.zero_division == 1,
                  "zero_division is " + shown(o.zero_division) + ", expected 0 or 1");
  problems.throw_if_any(name);
  return o;
}

std::string text_of(const ClassificationOptions& o) {
  std::string text = name_of(o.task);
  text += " " + std::to_string(o.num_classes + o.num_labels) + " " + std::to_string(o.top_k) + " " +
          shown(o.threshold) + (o.multidim_average == Multidim::kSamplewise ? " samplewise" : "");
  if (o.ignore_index) text += " ignore " + std::to_string(*o.ignore_index);
  return text;
}

void check_inputs(const std::string& name, const ClassificationOptions& o, Wants wants,
                  const torch::Tensor& preds, const torch::Tensor& target) {
  Problems problems;
  const bool scores = preds.is_floating_point();
  const auto shapes = "preds have shape " + shape_of(preds) + ", target " + shape_of(target);
  problems.expect(!target.is_floating_point(),
                  "target is of type " + std::string(torch::toString(target.scalar_type())) +
                      ", expected classes as integers: target.to(torch::kInt64)");
  problems.expect(scores || wants == Wants::kDecisions,
                  "preds are of type " + std::string(torch::toString(preds.scalar_type())) +
                      ", expected probabilities or logits as floats");
  if (o.task == Task::kMulticlass) {
    const bool has_classes = preds.dim() == target.dim() + 1;
    if (has_classes) {
      problems.expect(scores, "preds with a dimension of classes are of type " +
                                  std::string(torch::toString(preds.scalar_type())) + ", expected floats");
      problems.expect(preds.size(1) == o.num_classes,
                      "preds have " + std::to_string(preds.size(1)) +
                          " classes in dimension 1, expected num_classes = " + std::to_string(o.num_classes));
      auto rest = preds.sizes().vec();
      rest.erase(rest.begin() + 1);
      problems.expect(target.sizes() == rest, shapes + "; expected [N, C, ...] and [N, ...]");
    } else if (wants == Wants::kScores || o.top_k > 1) {
      problems.add(shapes + "; expected scores [N, C, ...] and classes [N, ...]");
    } else {
      problems.expect(preds.sizes() == target.sizes(),
                      shapes + "; expected [N, C, ...] and [N, ...], or twice [N, ...]");
      problems.expect(!scores, "preds of the shape of target are of type " +
                                   std::string(torch::toString(preds.scalar_type())) +
                                   ", expected classes as integers, or scores [N, C, ...]");
    }
  } else {
    problems.expect(preds.sizes() == target.sizes(), shapes + "; expected the same shape");
    if (o.task == Task::kMultilabel)
      problems.expect(preds.dim() >= 2 && preds.size(1) == o.num_labels,
                      "preds have shape " + shape_of(preds) + ", expected [N, L, ...] with num_labels = " +
                          std::to_string(o.num_labels) + " in dimension 1");
  }
  problems.expect(target.dim() > 0, "target has no dimension, expected [N, ...]");
  problems.throw_if_any(name + ".update()");
}

torch::Tensor sigmoid_if_needed(const torch::Tensor& preds, const torch::Tensor& mask) {
  auto outside = preds.ge(0).logical_and(preds.le(1)).logical_not();
  if (mask.defined()) outside = outside.logical_and(mask);
  return torch::where(outside.any(), preds.sigmoid(), preds);
}

torch::Tensor softmax_if_needed(const torch::Tensor& preds) {
  const auto outside = preds.ge(0).logical_and(preds.le(1)).logical_not();
  return torch::where(outside.any(), preds.softmax(1), preds);
}

torch::Tensor decisions(const torch::Tensor& preds, double threshold, const torch::Tensor& mask) {
  return preds.is_floating_point() ? sigmoid_if_needed(preds, mask).gt(threshold) : preds.ne(0);
}

torch::Tensor counted(const torch::Tensor& target, const std::optional<std::int64_t>& ignore_index) {
  return ignore_index ? target.ne(*ignore_index) : torch::Tensor();
}

torch::Tensor divided(const torch::Tensor& num, const torch::Tensor& den, double otherwise) {
  const auto n = num.to(torch::kFloat64), d = den.to(torch::kFloat64);
  return torch::where(d.ne(0), n / d, torch::scalar_tensor(otherwise, d.options()));
}

}  // namespace rtrain::metrics
