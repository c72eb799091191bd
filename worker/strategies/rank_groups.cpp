#include "worker/strategies/rank_groups.h"

#include <rtrain/context.h>

#include <torch/torch.h>

#include <cstdint>
#include <set>

namespace rtrain {

std::shared_ptr<Communicator> grouped(Communicator& ranks, const std::vector<int>& group_of,
                                      const std::string& name) {
  std::shared_ptr<Communicator> own;
  for (const int group : std::set<int>(group_of.begin(), group_of.end())) {
    std::vector<int> members;
    for (int rank = 0; rank < ranks.world_size(); ++rank)
      if (group_of[static_cast<std::size_t>(rank)] == group) members.push_back(rank);
    if (auto made = ranks.subgroup(members, name)) own = std::move(made);
  }
  return own;
}

std::shared_ptr<Communicator> neighbours(Communicator& ranks, int size, const std::string& name) {
  std::vector<int> group_of;
  for (int rank = 0; rank < ranks.world_size(); ++rank) group_of.push_back(rank / size);
  return grouped(ranks, group_of, name);
}

std::shared_ptr<Communicator> ranks_of_node(Communicator& ranks, torch::Device device,
                                            const std::string& name) {
  const auto own = torch::tensor({std::int64_t{get_context().get_node_rank()}}).to(device);
  std::vector<int> group_of;
  for (const auto& node : ranks.all_gather(own))
    group_of.push_back(static_cast<int>(node.item<std::int64_t>()));
  return grouped(ranks, group_of, name);
}

}  // namespace rtrain
