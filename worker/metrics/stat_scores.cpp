// Counts of true and false positives and negatives.
#include "worker/metrics/class_inputs.h"
#include "worker/metrics/counting.h"

#include <torch/torch.h>

namespace rtrain::metrics {
namespace {

/// A count a class or label; micro averages of classes have one for all.
bool has_classes(const ClassificationOptions& o) {
  return o.task == Task::kMultilabel || (o.task == Task::kMulticlass && o.average != Average::kMicro);
}

torch::Tensor initial(const ClassificationOptions& o) {
  std::vector<std::int64_t> shape;
  if (o.multidim_average == Multidim::kSamplewise) shape.push_back(0);
  if (has_classes(o)) shape.push_back(o.num_classes + o.num_labels);
  return torch::zeros(shape, torch::kInt64);
}

Metric::Reduce rule(const ClassificationOptions& o) {
  return o.multidim_average == Multidim::kSamplewise ? Metric::Reduce::kCat : Metric::Reduce::kSum;
}

/// Of decisions between 0 and 1, summed over `dims`.
Counts of_decisions(const torch::Tensor& preds, const torch::Tensor& target, const torch::Tensor& mask,
                    torch::IntArrayRef dims) {
  auto is_one = target.eq(1), is_zero = target.eq(0);
  if (mask.defined()) {
    is_one = is_one.logical_and(mask);
    is_zero = is_zero.logical_and(mask);
  }
  const auto negative = preds.logical_not();
  return {is_one.logical_and(preds).sum(dims), is_zero.logical_and(preds).sum(dims),
          is_zero.logical_and(negative).sum(dims), is_one.logical_and(negative).sum(dims)};
}

/// The class that each sample [N, S] was given. With top_k it is the right one where that is among them.
torch::Tensor chosen(const torch::Tensor& preds, const torch::Tensor& target, std::int64_t top_k) {
  if (preds.dim() == target.dim()) return preds.reshape({preds.size(0), -1});
  if (top_k == 1) return preds.argmax(1).reshape({preds.size(0), -1});
  const auto flat = target.reshape({target.size(0), -1});
  const auto best = std::get<1>(preds.reshape({preds.size(0), preds.size(1), -1}).topk(top_k, 1));
  return torch::where(best.eq(flat.unsqueeze(1)).any(1), flat, best.select(1, 0));
}

/// [R, S] each, one row a result.
Counts of_classes(const torch::Tensor& preds, const torch::Tensor& target, const torch::Tensor& mask,
                  std::int64_t classes, bool micro) {
  auto right = preds.eq(target);
  if (mask.defined()) right = right.logical_and(mask);
  const auto all = mask.defined() ? mask.sum(1)
                                  : torch::full({target.size(0)}, target.size(1),
                                                torch::dtype(torch::kInt64).device(target.device()));
  if (micro) {
    const auto tp = right.sum(1), wrong = all - tp;
    return {tp, wrong, classes * all - 2 * wrong - tp, wrong};
  }
  const auto tp = class_counts(target, right, classes);
  const auto fp = class_counts(preds, mask, classes) - tp, fn = class_counts(target, mask, classes) - tp;
  return {tp, fp, all.unsqueeze(1) - tp - fp - fn, fn};
}

}  // namespace

torch::Tensor class_counts(const torch::Tensor& labels, const torch::Tensor& mask, std::int64_t classes) {
  auto valid = labels.ge(0).logical_and(labels.lt(classes));
  if (mask.defined()) valid = valid.logical_and(mask);
  // One class more takes what does not count.
  const auto index = labels.to(torch::kInt64).masked_fill(valid.logical_not(), classes);
  return torch::zeros({labels.size(0), classes + 1}, index.options())
      .scatter_add_(1, index, torch::ones_like(index))
      .narrow(1, 0, classes);
}

StatScoresMetric::StatScoresMetric(std::string name, ClassificationOptions options)
    : PredictionMetric(std::move(name)),
      options_(checked(this->name(), options)),
      tp_(add_state("tp", initial(options_), rule(options_))),
      fp_(add_state("fp", initial(options_), rule(options_))),
      tn_(add_state("tn", initial(options_), rule(options_))),
      fn_(add_state("fn", initial(options_), rule(options_))) {}

std::string StatScoresMetric::update_key() const {
  return "stat_scores " + text_of(options_) + (has_classes(options_) ? "" : " micro");
}

void StatScoresMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto& o = options_;
  check_inputs(name(), o, Wants::kDecisions, preds, target);
  const bool samplewise = o.multidim_average == Multidim::kSamplewise;
  const auto samples = target.size(0);
  Counts counts;
  if (o.task == Task::kMulticlass) {
    auto labels = chosen(preds, target, o.top_k), flat = target.reshape({samples, -1});
    if (!samplewise) {
      labels = labels.reshape({1, -1});
      flat = flat.reshape({1, -1});
    }
    counts =
        of_classes(labels, flat, counted(flat, o.ignore_index), o.num_classes, o.average == Average::kMicro);
    if (!samplewise) {
      for (auto* count : {&counts.tp, &counts.fp, &counts.tn, &counts.fn}) *count = count->select(0, 0);
    }
  } else {
    // Ignored samples have a say in whether these are probabilities, as in torchmetrics.
    const auto ones = decisions(preds, o.threshold, {});
    const bool labels = o.task == Task::kMultilabel;
    const auto shape = labels ? std::vector<std::int64_t>{samples, o.num_labels, -1}
                              : std::vector<std::int64_t>{samples, -1};
    const auto flat = target.reshape(shape);
    std::vector<std::int64_t> dims{-1};
    if (!samplewise) dims.push_back(0);
    counts = of_decisions(ones.reshape(shape), flat, counted(flat, o.ignore_index), dims);
  }
  const auto put = [&](torch::Tensor& state, const torch::Tensor& count) {
    if (samplewise) {
      append(state, count);
    } else {
      state = state + count;
    }
  };
  put(tp_, counts.tp);
  put(fp_, counts.fp);
  put(tn_, counts.tn);
  put(fn_, counts.fn);
}

}  // namespace rtrain::metrics
