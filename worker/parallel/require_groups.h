// Whether the parallel layers of a module were made for the ranks of a run.
#pragma once

#include <rtrain/mesh.h>

#include <torch/nn/module.h>

#include <string>

namespace rtrain::parallel {

/// Layers of another arrangement of the ranks would add up what does not belong together.
/// @param who the strategy, for messages. @throws std::logic_error names a parameter, its part and the
/// mesh's.
void require_groups_of(const std::string& who, Mesh& mesh, const torch::nn::Module& module);

}  // namespace rtrain::parallel
