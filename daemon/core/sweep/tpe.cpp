#include "daemon/core/sweep/tpe.h"

#include "daemon/core/sweep/parzen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace rtrain::core {
namespace {

/// By group: complete and feasible, pruned and feasible, infeasible.
auto rank_of(const Observation& trial) {
  using Rank = std::tuple<int, double, double>;
  if (trial.violation > 0) return Rank(2, trial.violation, 0);
  if (trial.state == ObservedState::kPruned) return Rank(1, -trial.resource, trial.loss);
  return Rank(0, trial.loss, 0);
}

bool is_model_axis(const Axis& axis) { return axis.kind != AxisKind::kFixed; }

std::vector<const Point*> points_with(const std::vector<const Observation*>& trials,
                                      const std::vector<std::size_t>& axes) {
  std::vector<const Point*> points;
  for (const auto* trial : trials)
    if (std::ranges::none_of(axes, [&](std::size_t i) { return std::isnan(trial->point[i]); }))
      points.push_back(&trial->point);
  return points;
}

/// Puts the best of the candidates into `point`: the one that is likeliest to be good rather than bad.
void put_best(const Space& space, const std::vector<std::size_t>& axes, const TpeSplit& split,
              const proto::SearchConfig& options, std::uint64_t seed, std::int64_t trial, Point& point) {
  if (axes.empty()) return;
  const ParzenEstimator below(space, axes, points_with(split.below, axes));
  const ParzenEstimator above(space, axes, points_with(split.above, axes));
  const auto candidates = below.sample(seed, trial, static_cast<std::size_t>(options.candidates));
  const auto good = below.log_pdf(candidates), bad = above.log_pdf(candidates);
  std::size_t best = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i)
    if (good[i] - bad[i] > good[best] - bad[best]) best = i;
  for (const auto i : axes) point[i] = candidates[best][i];
}

}  // namespace

TpeSplit split_for_tpe(std::span<const Observation> history) {
  std::vector<const Observation*> ended;
  TpeSplit split;
  for (const auto& trial : history)
    (trial.state == ObservedState::kRunning ? split.above : ended).push_back(&trial);
  const auto size =
      std::min(static_cast<std::size_t>(std::ceil(0.1 * static_cast<double>(ended.size()))), std::size_t{25});
  std::ranges::stable_sort(ended, {}, [](const Observation* trial) { return rank_of(*trial); });
  const auto middle = ended.begin() + static_cast<std::ptrdiff_t>(size);
  split.below.assign(ended.begin(), middle);
  split.above.insert(split.above.end(), middle, ended.end());
  std::ranges::sort(split.below, {}, &Observation::trial);
  std::ranges::sort(split.above, {}, &Observation::trial);
  if (split.above.size() > kTpeAboveMax)
    split.above.erase(split.above.begin(), split.above.end() - static_cast<std::ptrdiff_t>(kTpeAboveMax));
  return split;
}

Point suggest_tpe(const Space& space, const proto::SearchConfig& options, std::uint64_t seed,
                  std::int64_t trial, std::span<const Observation> history) {
  const auto ended = std::ranges::count_if(
      history, [](const Observation& seen) { return seen.state != ObservedState::kRunning; });
  if (ended < options.startup) return sobol_point(space, seed, trial);
  const auto split = split_for_tpe(history);
  Point point(space.size(), std::numeric_limits<double>::quiet_NaN());
  std::vector<std::size_t> together;
  for (std::size_t i = 0; i < space.size(); ++i) {
    if (!is_model_axis(space[i])) point[i] = space[i].low;
    if (is_model_axis(space[i]) && !space[i].condition) together.push_back(i);
  }
  put_best(space, together, split, options, seed, trial, point);
  for (std::size_t i = 0; i < space.size(); ++i)
    if (space[i].condition && is_model_axis(space[i]) && space.is_active(i, point))
      put_best(space, {i}, split, options, seed, trial, point);
  return space.masked(std::move(point));
}

}  // namespace rtrain::core
