// Areas under curves.
#include "worker/metrics/class_inputs.h"
#include "worker/metrics/curve_set.h"
#include "worker/metrics/warnings.h"

#include <torch/torch.h>

namespace rtrain::metrics {
namespace {

/// The area up to `max_fpr`, scaled so that chance is 0.5 and the best 1 (McClish 1989).
torch::Tensor partial_area(const Curve& roc, double max_fpr) {
  const auto limit = torch::full({1}, max_fpr, roc.x.options());
  const auto stop = torch::searchsorted(roc.x.contiguous(), limit, /*out_int32=*/false, /*right=*/true)
                        .item<std::int64_t>();
  const auto before = roc.x[stop - 1], after = roc.x[stop];
  const auto at_limit = torch::lerp(roc.y[stop - 1], roc.y[stop], (limit - before) / (after - before));
  const auto area = torch::trapezoid(torch::cat({roc.y.narrow(0, 0, stop), at_limit}),
                                     torch::cat({roc.x.narrow(0, 0, stop), limit}));
  const double chance = 0.5 * max_fpr * max_fpr;
  return 0.5 * (1 + (area - chance) / (max_fpr - chance));
}

/// [..., T] -> [...]
torch::Tensor precision_area(const Curve& curve) {
  return -(curve.x.diff(1, -1) * curve.y.narrow(-1, 0, curve.y.size(-1) - 1)).sum(-1);
}

/// Several labels as one.
struct Micro {
  torch::Tensor table, preds, target;
};

Micro micro_of(const CurveOptions& o, const torch::Tensor* table, const torch::Tensor* preds,
               const torch::Tensor* target) {
  if (table != nullptr) return {table->sum(1), {}, {}};
  auto scores = preds->reshape({-1}), labels = target->reshape({-1});
  if (const auto mask = counted(labels, o.ignore_index); mask.defined()) {
    scores = scores.index({mask});
    labels = labels.index({mask});
  }
  return {{}, scores, labels};
}

CurveOptions as_binary(CurveOptions o) {
  o.task = Task::kBinary;
  o.num_labels = 0;
  return o;
}

/// Positive samples of each class or label.
torch::Tensor support_of(const CurveOptions& o, const torch::Tensor* table, const torch::Tensor* target) {
  if (table != nullptr) return (*table)[0].select(-2, 1).sum(-1).to(torch::kFloat64);
  const auto ones = o.task == Task::kMulticlass
                        ? target->unsqueeze(1).eq(torch::arange(o.num_classes, target->options()))
                        : target->eq(1);
  return ones.sum(0).to(torch::kFloat64);
}

torch::Tensor averaged(const std::string& name, const CurveOptions& o, const torch::Tensor& areas,
                       const torch::Tensor& support) {
  if (o.average == Average::kNone) return areas;
  const auto absent = areas.isnan();
  if (absent.any().item<bool>())
    warn_once(name +
              ": the value of a class or label without positive samples is NaN and is left out of the mean");
  const auto known = areas.index({absent.logical_not()});
  if (o.average == Average::kMacro) return known.mean();
  const auto weights = support.index({absent.logical_not()});
  return (known * divided(weights, weights.sum())).sum();
}

template <class Area>
torch::Tensor areas_of(const CurveSet& set, Area area) {
  if (set.together) return area(*set.together);
  std::vector<torch::Tensor> all;
  for (const auto& curve : set.apart) all.push_back(area(curve));
  return torch::stack(all);
}

/// The areas of `roc` or precision-recall curves, averaged as the options say.
template <class Area>
torch::Tensor area_under(const std::string& name, const CurveOptions& o, const torch::Tensor& thresholds,
                         const torch::Tensor* table, const torch::Tensor* preds, const torch::Tensor* target,
                         bool roc, Area area) {
  if (o.task == Task::kBinary) return areas_of(curves_of(o, thresholds, table, preds, target, roc), area);
  if (o.average == Average::kMicro) {
    const auto all = micro_of(o, table, preds, target);
    return areas_of(curves_of(as_binary(o), thresholds, table != nullptr ? &all.table : nullptr, &all.preds,
                              &all.target, roc),
                    area);
  }
  return averaged(name, o, areas_of(curves_of(o, thresholds, table, preds, target, roc), area),
                  support_of(o, table, target));
}

}  // namespace

MetricOutput AUROC::value() const {
  const auto max_fpr = options_.max_fpr.value_or(1);
  return area_under(
      name(), options_, thresholds_, table_, preds_, target_, /*roc=*/true, [&](const Curve& roc) {
        const bool whole = max_fpr == 1 || roc.x.sum().item<double>() == 0 || roc.y.sum().item<double>() == 0;
        return whole ? torch::trapezoid(roc.y, roc.x) : partial_area(roc, max_fpr);
      });
}

MetricOutput AveragePrecision::value() const {
  const bool binned = table_ != nullptr;
  const bool clears = binned || options_.task == Task::kBinary || options_.average == Average::kMicro;
  return area_under(name(), options_, thresholds_, table_, preds_, target_, /*roc=*/false,
                    [&](const Curve& curve) {
                      if (!clears) return precision_area(curve);
                      return precision_area({curve.x.nan_to_num(0), curve.y.nan_to_num(0), curve.thresholds});
                    });
}

}  // namespace rtrain::metrics
