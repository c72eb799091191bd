// What a domain holds: its values as numbers, and why a value is none of them.
#pragma once

#include "proto/sweep/sweep_spec.h"

namespace rtrain::proto {

/// The values low, low + step, ... of a float with a step or of an int. `high` is the last one.
struct Lattice {
  double low = 0, high = 0, step = 1;
  std::size_t count = 1;
  /// The nearest of them.
  [[nodiscard]] double nearest_to(double x) const;
};

[[nodiscard]] bool has_lattice(const Domain& domain);
/// has_lattice(domain)
[[nodiscard]] Lattice lattice_of(const Domain& domain);

/// Of float, int and normal the number, of values the index, of a constant 0. kInvalidArgument says why the
/// domain does not have the value: "0.35 is no multiple of 0.1 from 0".
[[nodiscard]] Result<double> coordinate_of(const Domain& domain, const Json& value);

}  // namespace rtrain::proto
