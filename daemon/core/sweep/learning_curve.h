// The losses of a trial over its resource. Pure.
#pragma once

#include <vector>

namespace rtrain::core {

class LearningCurve {
 public:
  /// `resource` above all that were added, else it is ignored (work that is done again). `loss`: less is
  /// better.
  void add(double resource, double loss);
  [[nodiscard]] bool empty() const { return points_.empty(); }
  /// At the last point at or below `resource`; before the first one its own. Not empty.
  [[nodiscard]] double at(double resource) const;

 private:
  struct Point {
    double resource, loss;
  };
  std::vector<Point> points_;
};

}  // namespace rtrain::core
