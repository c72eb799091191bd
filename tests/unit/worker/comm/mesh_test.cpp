#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"

#include <rtrain/mesh.h>

#include <mutex>

namespace mesh_test {

using namespace rtrain;
using rtrain::test::run_fake_ranks;

namespace {

/// The ranks of the world in the group of `axes`, as each rank sees it.
std::map<int, std::vector<std::int64_t>> members(int ranks, const ParallelDegrees& degrees, AxisSet axes) {
  std::mutex mutex;
  std::map<int, std::vector<std::int64_t>> seen;
  run_fake_ranks(ranks, [&](std::shared_ptr<Communicator> world) {
    const int me = world->rank();
    Mesh mesh(std::move(world), degrees);
    std::vector<std::int64_t> own;
    for (const auto& row : mesh.group(axes).all_gather(torch::tensor({me}, torch::kInt64)))
      own.push_back(row.item<std::int64_t>());
    const std::lock_guard lock(mutex);
    seen[me] = own;
  });
  return seen;
}

}  // namespace

TEST_CASE("mesh: neighbouring ranks differ in the last axis", "[unit][comm]") {
  const ParallelDegrees degrees{.replicate = 2, .shard = 2, .tensor = 2};
  using Group = std::vector<std::int64_t>;
  CHECK(members(8, degrees, Axis::kTensor).at(5) == Group{4, 5});
  CHECK(members(8, degrees, Axis::kShard).at(5) == Group{5, 7});
  CHECK(members(8, degrees, Axis::kReplicate).at(5) == Group{1, 5});
  CHECK(members(8, degrees, {Axis::kReplicate, Axis::kShard}).at(5) == Group{1, 3, 5, 7});
  CHECK(members(8, degrees, Axis::kPipeline).at(5) == Group{5});
  CHECK(members(8, degrees, {Axis::kReplicate, Axis::kShard, Axis::kTensor}).at(5).size() == 8);
}

TEST_CASE("mesh: ranks of one tensor, context or pipeline group read the same data", "[unit][comm]") {
  run_fake_ranks(16, [](std::shared_ptr<Communicator> world) {
    const int rank = world->rank();
    Mesh mesh(std::move(world), {.pipeline = 2, .replicate = 2, .shard = 2, .context = 2});
    const auto part = mesh.data();
    if (part.size != 4 || part.rank != (rank / 2) % 4) throw std::runtime_error("another part");
    if (mesh.coordinate(Axis::kPipeline) != rank / 8 || mesh.coordinate(Axis::kContext) != rank % 2)
      throw std::runtime_error("another place");
    if (mesh.loss_group().world_size() != 8) throw std::runtime_error("another loss group");
  });
}

TEST_CASE("mesh: degrees that do not make the world are told with both numbers", "[unit][comm]") {
  CHECK_THROWS_WITH(
      Mesh(Communicator::alone(), {.shard = 3}),
      "a mesh of 1 pipeline x 1 replicate x 3 shard x 1 context x 1 tensor needs 3 ranks, the job has 1 "
      "(scaling_config.num_workers)");
  CHECK_THROWS_WITH(Mesh(Communicator::alone(), {.tensor = 0}), Catch::Contains("degrees of 1 or more"));
}

}  // namespace mesh_test
