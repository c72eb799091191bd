// The ranks of a job, arranged along the axes of parallelism.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/export.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>

namespace rtrain {

/// Ordered from the slowest-varying to the fastest-varying axis, by increasing traffic: neighbouring ranks,
/// which share a node, differ along the last axis.
enum class Axis : std::uint8_t { kPipeline, kReplicate, kShard, kContext, kTensor };
inline constexpr int kAxes = 5;

/// A set of axes.
class RTRAIN_API AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(Axis axis)
      : bits_(static_cast<std::uint8_t>(1U << static_cast<unsigned>(axis))) {}  // NOLINT: implicit on purpose
  constexpr AxisSet(std::initializer_list<Axis> axes) {
    for (const auto axis : axes) bits_ = static_cast<std::uint8_t>(bits_ | AxisSet(axis).bits_);
  }
  [[nodiscard]] constexpr bool contains(Axis axis) const { return (bits_ & AxisSet(axis).bits_) != 0; }
  friend constexpr auto operator<=>(AxisSet, AxisSet) = default;

 private:
  std::uint8_t bits_ = 0;
};

/// The number of ranks along each axis; each is 1 or more.
struct RTRAIN_API ParallelDegrees {
  int pipeline = 1;   ///< ranks that hold consecutive layers
  int replicate = 1;  ///< ranks that hold the same parameters and read different data
  int shard = 1;      ///< ranks that hold parts of the parameters and read different data
  int context = 1;    ///< ranks that hold parts of each sequence
  int tensor = 1;     ///< ranks that hold parts of each layer's matrices
  [[nodiscard]] std::int64_t product() const;
  [[nodiscard]] int along(Axis axis) const;
};

/// The part of the data that a rank reads: part `rank` of `size`.
struct RTRAIN_API DataShard {
  int rank = 0, size = 1;
};

/// Immutable except for the groups, which are created on first use.
/// @thread the training thread.
class RTRAIN_API Mesh {
 public:
  /// @throws std::invalid_argument if the product of the degrees is not the world size (names both numbers).
  Mesh(std::shared_ptr<Communicator> world, const ParallelDegrees& degrees);
  /// A mesh that contains this rank only.
  Mesh() : Mesh(Communicator::alone(), {}) {}

  [[nodiscard]] const ParallelDegrees& degrees() const { return degrees_; }
  /// The coordinate of this rank along an axis, from 0.
  [[nodiscard]] int coordinate(Axis axis) const;
  [[nodiscard]] Communicator& world() const { return *world_; }
  /// The ranks that differ from this one only along `axes`, in world order. The first call for a set of axes
  /// creates a group, so all ranks of the world must make these calls in the same order.
  [[nodiscard]] Communicator& group(AxisSet axes);
  /// The same, for layers: they may outlive the mesh.
  [[nodiscard]] std::shared_ptr<Communicator> shared_group(AxisSet axes);
  /// The ranks whose losses are averaged: those that read different data or different parts of a sequence.
  [[nodiscard]] Communicator& loss_group() { return group({Axis::kReplicate, Axis::kShard, Axis::kContext}); }
  /// The data that this rank reads; the same for all ranks of a tensor, context or pipeline group.
  [[nodiscard]] DataShard data() const;

 private:
  [[nodiscard]] std::array<int, kAxes> place_of(int rank) const;
  std::shared_ptr<Communicator> world_;
  ParallelDegrees degrees_;
  std::map<AxisSet, std::shared_ptr<Communicator>> groups_;
};

}  // namespace rtrain
