// Groups of the ranks of a job.
#pragma once

#include <rtrain/communicator.h>

#include <memory>
#include <string>
#include <vector>

namespace rtrain {

/// The group of this rank, where rank r is in the group `group_of[r]`. Every rank calls it with the same
/// arguments.
[[nodiscard]] std::shared_ptr<Communicator> grouped(Communicator& ranks, const std::vector<int>& group_of,
                                                    const std::string& name);
/// Groups of ranks 0 to size - 1, size to 2 size - 1, and so on. @param size divides the number of ranks.
[[nodiscard]] std::shared_ptr<Communicator> neighbours(Communicator& ranks, int size,
                                                       const std::string& name);
/// The ranks of this node.
[[nodiscard]] std::shared_ptr<Communicator> ranks_of_node(Communicator& ranks, torch::Device device,
                                                          const std::string& name);

}  // namespace rtrain
