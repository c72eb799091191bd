// The normal distribution, accurate in its tails. Pure.
#pragma once

namespace rtrain::core {

/// P(Z <= x).
[[nodiscard]] double normal_cdf(double x);
/// log P(Z <= x), accurate also where the probability underflows.
[[nodiscard]] double log_normal_cdf(double x);
/// log P(a <= Z <= b), a < b; accurate in both tails.
[[nodiscard]] double log_normal_mass(double a, double b);
/// The x with normal_cdf(x) == p; p in (0, 1).
[[nodiscard]] double normal_quantile(double p);

}  // namespace rtrain::core
