#include "daemon/core/sweep/pbt.h"

#include "daemon/core/sweep/normal.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {
namespace {

/// A changed coordinate, within the axis.
double changed(const Axis& axis, const proto::Domain& domain, const proto::ScheduleConfig& config, double x,
               Draws& draws) {
  if (axis.kind == AxisKind::kFixed) return x;
  const bool other_way = draws.uniform() >= 0.5;
  const double factor = config.factors[other_way ? 1 : 0];
  if (domain.kind == proto::DomainKind::kNormal) {
    constexpr double kEdge = 0x1p-53;
    const double value = (domain.mean + domain.sd * normal_quantile(x)) * factor;
    return std::clamp(normal_cdf((value - domain.mean) / domain.sd), kEdge, 1 - kEdge);
  }
  const bool number = domain.kind == proto::DomainKind::kFloat || domain.kind == proto::DomainKind::kInt;
  const double moved = number ? x * factor : x + (other_way ? 1 : -1);
  return axis.kind == AxisKind::kContinuous ? std::clamp(moved, axis.low, axis.high)
                                            : axis.rounded(std::clamp(moved, axis.low, axis.high));
}

}  // namespace

std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> Pbt::quantiles() const {
  std::vector<std::pair<double, std::int64_t>> sorted;  // worst first
  for (const auto& [trial, member] : members_) sorted.emplace_back(-member.loss, trial);
  std::ranges::sort(sorted);
  if (sorted.size() <= 1) return {};
  auto size =
      static_cast<std::size_t>(std::ceil(static_cast<double>(sorted.size()) * config_.quantile_fraction));
  if (size > sorted.size() / 2) size = sorted.size() / 2;
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> both;
  for (std::size_t i = 0; i < size; ++i) {
    both.first.push_back(sorted[i].second);
    both.second.push_back(sorted[sorted.size() - size + i].second);
  }
  return both;
}

TrialDecision Pbt::decide(std::int64_t trial, int draw) const {
  const auto [lower, upper] = quantiles();
  if (std::ranges::find(lower, trial) == lower.end())
    return {TrialVerdict::kGoOn, std::ranges::find(upper, trial) != upper.end()
                                     ? "it is of the upper quantile"
                                     : "it is of neither quantile"};
  std::vector<std::int64_t> donors;
  for (const auto member : upper)
    if (const auto& of = members_.at(member); of.checkpoint && std::isfinite(of.loss))
      donors.push_back(member);
  if (donors.empty()) return {TrialVerdict::kGoOn, "no member of the upper quantile has a checkpoint"};
  Draws draws(seed_, trial, 0, Purpose::kDonor, static_cast<std::uint32_t>(draw));
  const auto donor = donors[draws.below(donors.size())];
  return {TrialVerdict::kClone,
          "it is of the lower " + std::to_string(lower.size()) + " of " + std::to_string(members_.size()) +
              ", trial " + std::to_string(donor) + " of the upper",
          donor};
}

void Pbt::cloned(std::int64_t trial) {
  if (const auto found = members_.find(trial); found != members_.end()) found->second.checkpoint = false;
}

Point perturbed(const Space& space, const proto::ScheduleConfig& config, std::uint64_t seed,
                std::int64_t trial, int draw, const Point& donor) {
  Point point(space.size());
  const auto one = [&](std::size_t i) {
    Draws draws(seed, trial, i, Purpose::kPerturb, static_cast<std::uint32_t>(draw));
    const bool anew = draws.uniform() < config.resample_probability || std::isnan(donor[i]);
    if (anew) return space[i].from_unit(draws.inner());
    return changed(space[i], space.parameters()[i].domain, config, donor[i], draws);
  };
  for (std::size_t i = 0; i < space.size(); ++i) point[i] = one(i);
  return space.masked(std::move(point));
}

}  // namespace rtrain::core
