// What is made of the counts.
#include "worker/metrics/class_inputs.h"
#include "worker/metrics/counting.h"
#include "worker/metrics/shown.h"

#include <torch/torch.h>

namespace rtrain::metrics {
namespace {

bool is_micro(const ClassificationOptions& o) {
  return o.task != Task::kBinary && o.average == Average::kMicro;
}

/// float64. Micro averages of labels are of their sums; those of classes are one sum already.
Counts counts_of(const ClassificationOptions& o, const torch::Tensor& tp, const torch::Tensor& fp,
                 const torch::Tensor& tn, const torch::Tensor& fn) {
  const bool sum = is_micro(o) && o.task == Task::kMultilabel;
  const auto take = [&](const torch::Tensor& count) {
    const auto real = count.to(torch::kFloat64);
    return sum ? real.sum(-1) : real;
  };
  return {take(tp), take(fp), take(tn), take(fn)};
}

/// @param absent multiclass: classes that a mean leaves out.
torch::Tensor averaged(const ClassificationOptions& o, const torch::Tensor& score, const Counts& c,
                       const torch::Tensor& absent) {
  if (o.task == Task::kBinary || o.average == Average::kMicro || o.average == Average::kNone) return score;
  auto weights = o.average == Average::kWeighted ? c.tp + c.fn : torch::ones_like(score);
  if (o.average == Average::kMacro && o.task == Task::kMulticlass) weights = weights.masked_fill(absent, 0);
  return divided(weights * score, weights.sum(-1, /*keepdim=*/true)).sum(-1);
}

torch::Tensor neither_seen_nor_predicted(const Counts& c) { return (c.tp + c.fp + c.fn).eq(0); }

/// Where top_k is above 1, a class that was not seen.
torch::Tensor absent_by_top_k(const ClassificationOptions& o, const Counts& c) {
  return o.top_k == 1 ? neither_seen_nor_predicted(c) : (c.tp + c.fn).eq(0);
}

/// Of classes the recall: a class has no true negatives of its own.
torch::Tensor accuracy_of(const ClassificationOptions& o, const Counts& c) {
  return o.task == Task::kMulticlass ? divided(c.tp, c.tp + c.fn)
                                     : divided(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn);
}

}  // namespace

MetricOutput StatScores::value() const {
  const auto all = torch::stack({tp_, fp_, tn_, fn_, tp_ + fn_}, -1);
  if (options_.task == Task::kBinary || options_.average == Average::kNone) return all;
  if (options_.average == Average::kMicro) return options_.task == Task::kMultilabel ? all.sum(-2) : all;
  const auto real = all.to(torch::kFloat64);
  if (options_.average == Average::kMacro) return real.mean(-2);
  const auto support = real.select(-1, 4);
  return (real * (support / support.sum(-1, /*keepdim=*/true)).unsqueeze(-1)).sum(-2);
}

MetricOutput Accuracy::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  return averaged(options_, accuracy_of(options_, c), c, absent_by_top_k(options_, c));
}

MetricOutput Precision::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  return averaged(options_, divided(c.tp, c.tp + c.fp, options_.zero_division), c,
                  absent_by_top_k(options_, c));
}

MetricOutput Recall::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  return averaged(options_, divided(c.tp, c.tp + c.fn, options_.zero_division), c,
                  absent_by_top_k(options_, c));
}

MetricOutput Specificity::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  return averaged(options_, divided(c.tn, c.tn + c.fp), c, neither_seen_nor_predicted(c));
}

namespace {

/// A base is made from its options before a member could be checked.
ClassificationOptions with_beta(const std::string& name, double beta, const ClassificationOptions& options) {
  Problems problems;
  problems.expect(beta > 0, "beta is " + shown(beta) + ", expected a number above 0");
  return checked(name, options, std::move(problems));
}

}  // namespace

FBeta::FBeta(std::string name, double beta, ClassificationOptions options)
    : StatScoresMetric(name, with_beta(name, beta, options)), beta_(beta) {}

MetricOutput FBeta::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  const auto square = beta_ * beta_;
  const auto score =
      divided((1 + square) * c.tp, (1 + square) * c.tp + square * c.fn + c.fp, options_.zero_division);
  return averaged(options_, score, c, neither_seen_nor_predicted(c));
}

MetricOutput HammingDistance::value() const {
  const auto c = counts_of(options_, tp_, fp_, tn_, fn_);
  return averaged(options_, 1 - accuracy_of(options_, c), c, neither_seen_nor_predicted(c));
}

namespace {

ClassificationOptions without_binary(const std::string& name, const ClassificationOptions& options) {
  Problems problems;
  problems.expect(options.task != Task::kBinary,
                  "the task is binary, whose samples have one decision each: Accuracy is what you look for");
  auto own = options;
  own.top_k = 1;
  return checked(name, own, std::move(problems));
}

torch::Tensor no_rows() { return torch::zeros({0}, torch::kFloat64); }

}  // namespace

ExactMatch::ExactMatch(ClassificationOptions options)
    : PredictionMetric("ExactMatch"),
      options_(without_binary("ExactMatch", options)),
      correct_(options_.multidim_average == Multidim::kSamplewise
                   ? add_state("correct", no_rows(), Reduce::kCat)
                   : add_state("correct", torch::zeros({}, torch::kFloat64), Reduce::kSum)),
      total_(add_state("total", torch::zeros({}, torch::kFloat64), Reduce::kSum)) {}

void ExactMatch::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto& o = options_;
  check_inputs(name(), o, Wants::kDecisions, preds, target);
  const bool labels = o.task == Task::kMultilabel;
  const auto samples = target.size(0);
  const auto shape =
      labels ? std::vector<std::int64_t>{samples, o.num_labels, -1} : std::vector<std::int64_t>{samples, -1};
  const auto flat = target.reshape(shape);
  auto given = preds;
  if (labels) {
    given = decisions(preds, o.threshold, {}).to(target.scalar_type());
  } else if (preds.dim() == target.dim() + 1) {
    given = preds.argmax(1);
  }
  auto right = given.reshape(shape).eq(flat);
  if (const auto mask = counted(flat, o.ignore_index); mask.defined())
    right = right.logical_or(mask.logical_not());
  // [N] of classes, [N, S] of labels
  const auto match = right.all(1).to(torch::kFloat64);
  if (o.multidim_average == Multidim::kSamplewise) {
    append(correct_, labels ? match.mean(1) : match);
  } else {
    correct_ = correct_ + match.sum();
  }
  total_ = total_ + static_cast<double>(match.numel());
}

MetricOutput ExactMatch::value() const {
  if (options_.multidim_average == Multidim::kSamplewise) return correct_;
  return divided(correct_, total_);
}

}  // namespace rtrain::metrics
