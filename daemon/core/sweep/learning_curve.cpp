#include "daemon/core/sweep/learning_curve.h"

#include <algorithm>

namespace rtrain::core {

void LearningCurve::add(double resource, double loss) {
  if (points_.empty() || resource > points_.back().resource) points_.push_back({resource, loss});
}

double LearningCurve::at(double resource) const {
  const auto after = std::ranges::upper_bound(points_, resource, {}, &Point::resource);
  return after == points_.begin() ? points_.front().loss : std::prev(after)->loss;
}

}  // namespace rtrain::core
