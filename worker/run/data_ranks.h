// The ranks of a job that read different data.
#pragma once

#include <rtrain/mesh.h>

namespace rtrain {

/// Ranks of one tensor, context or pipeline group read the same. @param world_size of the job, whose ranks
/// may each train alone, in a mesh of one.
[[nodiscard]] inline int data_ranks(const Mesh& mesh, int world_size) {
  const auto& degrees = mesh.degrees();
  return world_size / (degrees.tensor * degrees.context * degrees.pipeline);
}

}  // namespace rtrain
