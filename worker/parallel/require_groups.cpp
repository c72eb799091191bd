#include "worker/parallel/require_groups.h"

#include <rtrain/parallel/partition.h>

#include <stdexcept>

namespace rtrain::parallel {

void require_groups_of(const std::string& who, Mesh& mesh, const torch::nn::Module& module) {
  const int ranks = mesh.degrees().tensor, rank = mesh.coordinate(Axis::kTensor);
  for (const auto& [tensor, partition] : split_parameters_of(module)) {
    const auto& own = *partition.group();
    if (own.world_size() == ranks && own.rank() == rank) continue;
    std::string name;
    for (const auto& item : module.named_parameters())
      if (item.value().is_same(tensor)) name = item.key();
    throw std::logic_error(who + ": " + name + " is part " + std::to_string(own.rank()) + " of " +
                           std::to_string(own.world_size()) + ", and this is rank " + std::to_string(rank) +
                           " of " + std::to_string(ranks) +
                           " of its tensor group: use ModelParallelStrategy, and make parallel layers in "
                           "configure_model(), with device_mesh().shared_group(Axis::kTensor)");
  }
}

}  // namespace rtrain::parallel
