#include "daemon/core/sweep/schedule.h"

#include "common/base/fault.h"

#include <cmath>

namespace rtrain::core {
namespace {

using proto::ScheduleKind;

constexpr double kRoundingOfResource = 1e-9;
constexpr int kRungsMax = 1'000'000;  // of what is decided every `interval`

std::variant<std::monostate, Hyperband, Median, Pbt> rule_of(const proto::ScheduleConfig& config,
                                                             std::uint64_t seed) {
  switch (config.kind) {
    case ScheduleKind::kNone: return std::monostate();
    case ScheduleKind::kAsha:
      return Hyperband(Asha(rungs_between(config.min, config.max, config.eta), config.eta, config.mode));
    case ScheduleKind::kHyperband: return Hyperband(config);
    case ScheduleKind::kMedian: return Median(config);
    case ScheduleKind::kPbt: return Pbt(config, seed);
  }
  return std::monostate();
}

}  // namespace

Schedule::Schedule(const proto::ScheduleConfig& config, std::uint64_t seed)
    : config_(config), rule_(rule_of(config, seed)) {}

std::optional<int> Schedule::rung_at(std::int64_t trial, int last, double resource) const {
  if (std::holds_alternative<std::monostate>(rule_)) return std::nullopt;
  const double reached = resource * (1 + kRoundingOfResource);
  if (const auto* halving = std::get_if<Hyperband>(&rule_)) {
    const auto& rungs = halving->of(trial).rungs();
    const auto next = static_cast<std::size_t>(last) + 1;
    if (next >= rungs.size() || reached < rungs[next]) return std::nullopt;
    return fault::on(fault::Fault::kRungSkipped) && next + 1 < rungs.size() ? last + 2 : last + 1;
  }
  // Every `interval`, from `grace` on; of a population every multiple of `interval` from `burn_in` on.
  const bool population = config_.kind == ScheduleKind::kPbt;
  if (reached < (population ? std::max(config_.burn_in, config_.interval) : config_.grace))
    return std::nullopt;
  const double beyond = reached - (population ? 0 : config_.grace);
  const int rung = static_cast<int>(std::min<double>(kRungsMax, std::floor(beyond / config_.interval)));
  return rung > last ? std::optional(rung) : std::nullopt;
}

std::optional<double> Schedule::resource_of(std::int64_t trial, int rung) const {
  if (rung < 0 || std::holds_alternative<std::monostate>(rule_)) return std::nullopt;
  if (const auto* halving = std::get_if<Hyperband>(&rule_)) {
    const auto& rungs = halving->of(trial).rungs();
    const auto at = static_cast<std::size_t>(rung);
    return at < rungs.size() ? std::optional(rungs[at]) : std::nullopt;
  }
  if (rung > kRungsMax) return std::nullopt;
  const double from = config_.kind == ScheduleKind::kPbt ? 0 : config_.grace;
  return from + rung * config_.interval;
}

void Schedule::enter(std::int64_t trial, int rung, double loss, bool checkpoint) {
  if (auto* halving = std::get_if<Hyperband>(&rule_)) halving->of(trial).enter(trial, rung, loss);
  if (auto* median = std::get_if<Median>(&rule_)) median->enter(trial, rung, loss);
  if (auto* population = std::get_if<Pbt>(&rule_)) population->enter(trial, loss, checkpoint);
}

TrialDecision Schedule::decide(std::int64_t trial, int rung, int draw) const {
  if (const auto* halving = std::get_if<Hyperband>(&rule_)) return halving->of(trial).decide(trial, rung);
  if (const auto* median = std::get_if<Median>(&rule_)) return median->decide(trial, rung);
  if (const auto* population = std::get_if<Pbt>(&rule_)) {
    const bool at_end =
        config_.max > 0 && *resource_of(trial, rung) >= config_.max * (1 - kRoundingOfResource);
    if (at_end) return {TrialVerdict::kGoOn, "it is at its end, max"};
    return population->decide(trial, draw);
  }
  return {};
}

std::optional<Promotion> Schedule::promotable() const {
  const auto* halving = std::get_if<Hyperband>(&rule_);
  return halving != nullptr ? halving->promotable() : std::nullopt;
}

std::optional<Promotion> Schedule::last_promotion() const {
  const auto* halving = std::get_if<Hyperband>(&rule_);
  return halving != nullptr ? halving->best_waiting() : std::nullopt;
}

void Schedule::promote(std::int64_t trial, int rung) {
  if (auto* halving = std::get_if<Hyperband>(&rule_)) halving->of(trial).promote(trial, rung);
}

void Schedule::complete(std::int64_t trial) {
  if (auto* median = std::get_if<Median>(&rule_)) return median->complete(trial);
  end(trial);
}

void Schedule::end(std::int64_t trial) {
  if (auto* halving = std::get_if<Hyperband>(&rule_)) halving->of(trial).end(trial);
  if (auto* median = std::get_if<Median>(&rule_)) median->withdraw(trial);
  if (auto* population = std::get_if<Pbt>(&rule_)) population->withdraw(trial);
}

void Schedule::fail(std::int64_t trial, int last) {
  if (auto* halving = std::get_if<Hyperband>(&rule_)) {
    auto& bracket = halving->of(trial);
    if (last + 1 < static_cast<int>(bracket.rungs().size())) bracket.enter(trial, last + 1, kWorstLoss);
  }
  end(trial);
}

void Schedule::withdraw(std::int64_t trial) {
  if (auto* halving = std::get_if<Hyperband>(&rule_)) return halving->of(trial).withdraw(trial);
  end(trial);
}

void Schedule::cloned(std::int64_t trial) {
  if (auto* population = std::get_if<Pbt>(&rule_)) population->cloned(trial);
}

}  // namespace rtrain::core
