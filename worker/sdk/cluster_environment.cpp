#include <rtrain/cluster_environment.h>
#include <rtrain/context.h>

#include "worker/sdk/job.h"

namespace rtrain {

// The group that the collectives use is the truth; a process without one asks the job.
int ClusterEnvironment::world_size() const {
  const auto* group = sdk::Job::current().group();
  return group != nullptr ? group->communicator()->world_size() : get_context().get_world_size();
}
int ClusterEnvironment::global_rank() const {
  const auto* group = sdk::Job::current().group();
  return group != nullptr ? group->communicator()->rank() : get_context().get_world_rank();
}
int ClusterEnvironment::local_rank() const { return get_context().get_local_rank(); }
int ClusterEnvironment::node_rank() const { return get_context().get_node_rank(); }

}  // namespace rtrain
