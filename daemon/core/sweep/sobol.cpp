#include "daemon/core/sweep/space.h"

#include <boost/random/sobol.hpp>

#include <cmath>

namespace rtrain::core {

Point sobol_point(const Space& space, std::uint64_t seed, std::int64_t index) {
  using Engine = boost::random::sobol_engine<std::uint64_t, 53>;
  Engine engine(space.size());
  // The engine leaves out the first point, whose digits are all zero.
  if (index > 0) engine.discard(static_cast<std::uint64_t>(index - 1) * space.size());
  Point point(space.size());
  for (std::size_t i = 0; i < space.size(); ++i) {
    const auto shift = static_cast<std::uint64_t>(Draws(seed, 0, i, Purpose::kShift).uniform() * 0x1p53);
    const auto digits = (index > 0 ? engine() : 0) ^ shift;
    // half a unit of the last digit, so that neither end is met
    point[i] = space[i].from_unit((static_cast<double>(digits >> 1) + 0.5) * 0x1p-52);
  }
  return space.masked(std::move(point));
}

}  // namespace rtrain::core
