#include "daemon/core/sweep/normal.h"

#include <boost/math/special_functions/erf.hpp>

#include <cmath>
#include <limits>
#include <numbers>

namespace rtrain::core {
namespace {

/// log of the tail probability by its asymptotic series (Abramowitz and Stegun 26.2.12), for x < -20:
/// the terms shrink by at least 1/400 each until they are below the precision of a double.
double log_tail(double x) {
  const double inverse = 1 / (x * x);
  double sum = 1, term = 1;
  for (int k = 1; std::abs(term) > std::numeric_limits<double>::epsilon(); ++k) {
    term *= -(2 * k - 1) * inverse;
    sum += term;
  }
  return -0.5 * x * x - std::log(-x) - 0.5 * std::log(2 * std::numbers::pi) + std::log(sum);
}

}  // namespace

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double log_normal_cdf(double x) {
  if (x > 6) return -normal_cdf(-x);  // log(1 - p) of a p below 1e-9
  if (x > -20) return std::log(normal_cdf(x));
  return log_tail(x);
}

double log_normal_mass(double a, double b) {
  if (a > 0) return log_normal_mass(-b, -a);  // the left tail is the accurate one
  if (b > 0) return std::log1p(-normal_cdf(a) - normal_cdf(-b));
  const double upper = log_normal_cdf(b), lower = log_normal_cdf(a);
  return upper + std::log1p(-std::exp(lower - upper));
}

double normal_quantile(double p) { return -std::numbers::sqrt2 * boost::math::erfc_inv(2 * p); }

}  // namespace rtrain::core
