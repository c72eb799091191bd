#include <rtrain/mesh.h>

#include <stdexcept>
#include <vector>

namespace rtrain {
namespace {

constexpr std::array<Axis, kAxes> kAllAxes{Axis::kPipeline, Axis::kReplicate, Axis::kShard, Axis::kContext,
                                           Axis::kTensor};
constexpr std::array<const char*, kAxes> kNames{"pipeline", "replicate", "shard", "context", "tensor"};

std::string name_of(AxisSet axes) {
  std::string name;
  for (const auto axis : kAllAxes)
    if (axes.contains(axis))
      name += (name.empty() ? "" : "+") + std::string(kNames[static_cast<std::size_t>(axis)]);
  return name;
}

}  // namespace

int ParallelDegrees::along(Axis axis) const {
  switch (axis) {
    case Axis::kPipeline: return pipeline;
    case Axis::kReplicate: return replicate;
    case Axis::kShard: return shard;
    case Axis::kContext: return context;
    case Axis::kTensor: return tensor;
  }
  return 1;
}

std::int64_t ParallelDegrees::product() const {
  std::int64_t product = 1;
  for (const auto axis : kAllAxes) product *= along(axis);
  return product;
}

Mesh::Mesh(std::shared_ptr<Communicator> world, const ParallelDegrees& degrees)
    : world_(std::move(world)), degrees_(degrees) {
  std::string factors;
  bool positive = true;
  for (const auto axis : kAllAxes) {
    factors += (factors.empty() ? "" : " x ") + std::to_string(degrees_.along(axis)) + " " +
               kNames[static_cast<std::size_t>(axis)];
    positive = positive && degrees_.along(axis) >= 1;
  }
  if (positive && degrees_.product() == world_->world_size()) return;
  throw std::invalid_argument(
      "a mesh of " + factors + " needs " +
      (positive ? std::to_string(degrees_.product()) + " ranks" : "degrees of 1 or more") + ", the job has " +
      std::to_string(world_->world_size()) + " (scaling_config.num_workers)");
}

std::array<int, kAxes> Mesh::place_of(int rank) const {
  std::array<int, kAxes> place{};
  for (int axis = kAxes - 1; axis >= 0; --axis) {
    const int degree = degrees_.along(kAllAxes[static_cast<std::size_t>(axis)]);
    place[static_cast<std::size_t>(axis)] = rank % degree;
    rank /= degree;
  }
  return place;
}

int Mesh::coordinate(Axis axis) const { return place_of(world_->rank())[static_cast<std::size_t>(axis)]; }

Communicator& Mesh::group(AxisSet axes) { return *shared_group(axes); }

std::shared_ptr<Communicator> Mesh::shared_group(AxisSet axes) {
  std::int64_t size = 1;
  for (const auto axis : kAllAxes)
    if (axes.contains(axis)) size *= degrees_.along(axis);
  if (size == world_->world_size()) return world_;
  auto& group = groups_[axes];
  if (group) return group;
  if (size == 1) return group = Communicator::alone();
  // All groups of these axes, since every rank takes part in the making of each.
  const int ranks = world_->world_size();
  std::vector<bool> placed(static_cast<std::size_t>(ranks));
  for (int first = 0; first < ranks; ++first) {
    if (placed[static_cast<std::size_t>(first)]) continue;
    const auto at = place_of(first);
    std::vector<int> members;
    for (int rank = first; rank < ranks; ++rank) {
      const auto there = place_of(rank);
      bool same = true;
      for (const auto axis : kAllAxes)
        same = same && (axes.contains(axis) ||
                        there[static_cast<std::size_t>(axis)] == at[static_cast<std::size_t>(axis)]);
      if (!same) continue;
      members.push_back(rank);
      placed[static_cast<std::size_t>(rank)] = true;
    }
    if (auto made = world_->subgroup(members, name_of(axes))) group = std::move(made);
  }
  return group;
}

DataShard Mesh::data() const {
  return {coordinate(Axis::kReplicate) * degrees_.shard + coordinate(Axis::kShard),
          degrees_.replicate * degrees_.shard};
}

}  // namespace rtrain
