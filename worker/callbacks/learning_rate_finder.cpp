#include <rtrain/callbacks/learning_rate_finder.h>

#include "worker/runtime/json.h"
#include "worker/runtime/problems.h"

#include <rtrain/trainer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace rtrain {
namespace {

constexpr double kDecay = 0.98;

/// Lightning's: of step i (from 0) the rate before its scheduler has stepped i times, which leaves out one
/// rate after the first.
double rate_of(const LearningRateFinderOptions& o, std::int64_t step) {
  if (step == 0) return o.min_lr;
  const double part = static_cast<double>(step + 1) / static_cast<double>(o.num_training_steps);
  return o.mode == "linear" ? o.min_lr + part * (o.max_lr - o.min_lr)
                            : o.min_lr * std::pow(o.max_lr / o.min_lr, part);
}

/// torch.gradient() at point i: of second order where there are two neighbors, for points at any distance.
double slope(const std::vector<double>& y, const std::vector<double>& x, std::size_t i) {
  const auto last = y.size() - 1;
  if (i == 0) return (y[1] - y[0]) / (x[1] - x[0]);
  if (i == last) return (y[last] - y[last - 1]) / (x[last] - x[last - 1]);
  const double before = x[i] - x[i - 1], after = x[i + 1] - x[i];
  return (before * before * y[i + 1] + (after * after - before * before) * y[i] - after * after * y[i - 1]) /
         (before * after * (before + after));
}

}  // namespace

std::optional<double> LearningRateSweep::suggestion(std::int64_t skip_begin, std::int64_t skip_end) const {
  std::vector<double> x, y;
  const auto end = static_cast<std::int64_t>(loss.size()) - skip_end;
  for (auto i = skip_begin; i < end; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!std::isfinite(loss[at])) continue;
    x.push_back(lr[at]);
    y.push_back(loss[at]);
  }
  if (y.size() < 2) return std::nullopt;
  std::size_t best = 0;
  for (std::size_t i = 1; i < y.size(); ++i)
    if (slope(y, x, i) < slope(y, x, best)) best = i;
  return x[best];
}

LearningRateFinder::LearningRateFinder(LearningRateFinderOptions options) : options_(std::move(options)) {
  const auto& o = options_;
  Problems problems;
  problems.expect(std::isfinite(o.min_lr) && o.min_lr > 0, "min_lr", runtime::dump_json(o.min_lr),
                  "more than 0");
  problems.expect(std::isfinite(o.max_lr) && o.max_lr > o.min_lr, "max_lr", runtime::dump_json(o.max_lr),
                  "more than min_lr");
  problems.expect(o.num_training_steps >= 1, "num_training_steps", std::to_string(o.num_training_steps),
                  "1 or more");
  problems.expect(o.mode == "exponential" || o.mode == "linear", "mode", "\"" + o.mode + "\"",
                  "\"exponential\" or \"linear\"");
  problems.expect(o.early_stop_threshold.value_or(1) > 0, "early_stop_threshold",
                  runtime::dump_json(o.early_stop_threshold.value_or(1)), "more than 0, or none");
  problems.throw_if_any_option("LearningRateFinder");
}

void LearningRateFinder::on_fit_start(Trainer& trainer, LightningModule& module) {
  if (trainer.options().fast_dev_run > 0 || !trainer.resumed_from().empty()) return;
  if (trainer.optimizers().size() != 1)
    throw std::invalid_argument("LearningRateFinder: configure_optimizers() returned " +
                                std::to_string(trainer.optimizers().size()) + " optimizers, expected one");
  auto& optimizer = *trainer.optimizers().front();
  sweep_ = {};
  double average = 0, best = std::numeric_limits<double>::infinity();
  trainer.try_training(
      options_.num_training_steps,
      [&](std::int64_t step) {
        sweep_.lr.push_back(rate_of(options_, step));
        optimizer.set_lr(sweep_.lr.back());
      },
      [&](std::int64_t step, const torch::Tensor& loss) {
        if (!loss.defined()) throw std::logic_error("LearningRateFinder: training_step returned no loss");
        auto value = loss.to(torch::kDouble);
        trainer.strategy().reduce(value, Strategy::Reduce::kMean);  // all ranks stop at the same step
        average = kDecay * average + (1 - kDecay) * value.item<double>();
        const auto taken = static_cast<double>(step + 1);
        const double smoothed = average / (1 - std::pow(kDecay, taken + 1));
        sweep_.loss.push_back(smoothed);
        const bool stops =
            options_.early_stop_threshold && step > 0 && smoothed > *options_.early_stop_threshold * best;
        if (smoothed < best || step == 0) best = smoothed;
        return !stops;
      });
  const auto found = sweep_.suggestion();
  if (!found) {
    module.print("LearningRateFinder: too few finite losses for a suggestion; the learning rate stays " +
                 runtime::dump_json(optimizer.lr()));
    return;
  }
  if (!options_.update_attr) return;
  optimizer.set_lr(*found);
  for (auto& group : optimizer.groups())
    if (const auto initial = group.options.find("initial_lr"); initial != group.options.end())
      initial->second = *found;
  for (const char* name : {"lr", "learning_rate"})
    if (module.hparams().contains(name)) {
      module.hparams()[name] = *found;
      break;
    }
  module.print("LearningRateFinder: the learning rate is " + runtime::dump_json(*found));
}

RTRAIN_REGISTER_OPTIONS(Callback, "LearningRateFinder", LearningRateFinder, LearningRateFinderOptions, min_lr,
                        max_lr, num_training_steps, mode, early_stop_threshold, update_attr);

}  // namespace rtrain
