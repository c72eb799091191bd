#include "daemon/core/sweep/hyperband.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace rtrain::core {
namespace {

/// The bits of n behind the point, in reverse: 0, 1/2, 1/4, 3/4, 1/8, ... (van der Corput). Each run of
/// numbers covers [0, 1) evenly.
double reversed_bits(std::uint64_t n) {
  double value = 0;
  for (double half = 0.5; n != 0; n >>= 1, half /= 2)
    if ((n & 1) != 0) value += half;
  return value;
}

}  // namespace

std::vector<int> bracket_lengths(const proto::ScheduleConfig& config) {
  constexpr double kRounding = 1e-9;
  const int ladder =
      static_cast<int>(std::floor(std::log(config.max / config.min) / std::log(config.eta) + kRounding));
  const int longest = std::min(config.max_rungs, ladder + 1);
  int shortest = longest;
  if (config.brackets == proto::BracketMode::kStandard) shortest = (longest - 1) / 2 + 1;
  if (config.brackets == proto::BracketMode::kConservative) shortest = 1;
  std::vector<int> lengths;
  for (int length = longest; length >= shortest; --length) lengths.push_back(length);
  return lengths;
}

std::vector<double> bracket_rungs(const proto::ScheduleConfig& config, int length) {
  std::vector<double> rungs;
  for (int rung = length - 1; rung > 0; --rung) rungs.push_back(config.max / std::pow(config.eta, rung));
  rungs.push_back(config.max);
  return rungs;
}

Hyperband::Hyperband(const proto::ScheduleConfig& config) {
  for (const int length : bracket_lengths(config)) {
    brackets_.emplace_back(bracket_rungs(config, length), config.eta, config.mode);
    shares_.push_back(std::pow(config.eta, length - 1) / length);
  }
  const double sum = std::accumulate(shares_.begin(), shares_.end(), 0.0);
  double before = 0;
  for (auto& share : shares_) before = share = before + share / sum;
  shares_.back() = 1;
}

std::size_t Hyperband::bracket_of(std::int64_t trial) const {
  const double at = reversed_bits(static_cast<std::uint64_t>(trial));
  return static_cast<std::size_t>(std::ranges::upper_bound(shares_, at) - shares_.begin());
}

std::optional<Promotion> Hyperband::promotable() const {
  std::optional<Promotion> best;
  double resource = 0;
  for (const auto& bracket : brackets_) {
    auto promotion = bracket.promotable();
    if (!promotion) continue;
    const double at = bracket.rungs()[static_cast<std::size_t>(promotion->rung)];
    if (!best || at > resource) best = std::move(promotion), resource = at;
  }
  return best;
}

std::optional<Promotion> Hyperband::best_waiting() const {
  for (const auto& bracket : brackets_)
    if (!bracket.has_finisher())
      if (auto promotion = bracket.best_waiting()) return promotion;
  return std::nullopt;
}

}  // namespace rtrain::core
