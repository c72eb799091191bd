// Parameters of one number type that are gathered and reduced together.
#pragma once

#include "worker/sharding/buffer_pool.h"
#include "worker/sharding/exchange.h"
#include "worker/sharding/flat_layout.h"
#include "worker/sharding/intercept.h"

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::sharding {

/// The types of a group's numbers.
struct GroupTypes {
  torch::ScalarType master;   ///< of the shards, which optimizers step
  torch::ScalarType compute;  ///< of the parameters as the model reads them
  torch::ScalarType reduce;   ///< of gradients on their way between the ranks
};

struct NamedParameter {
  std::string name;
  torch::Tensor tensor;
};

enum class GroupState : std::uint8_t {
  kSharded,    ///< the parameters have no memory
  kGathering,  ///< they have, and parts of other ranks are on their way into it
  kWhole,
};

/// The parameters keep their TensorImpl, their shape and their views, and share one storage, which has memory
/// only while they are read. Its size in bytes stays, because views are checked against it.
/// @thread one at a time.
class FlatGroup {
 public:
  struct Member {
    std::string name;
    torch::Tensor parameter;  ///< the module's own
    /// This rank's elements of it, one-dimensional, possibly empty: a leaf that shares the memory of `shard`.
    torch::Tensor piece;
    std::int64_t in_parameter = 0;  ///< the index of the piece's first element in the parameter
    bool has_gradient = false;      ///< since the last reduction
  };

  /// Takes the values out of the parameters and their memory away. @param number unique within the module,
  /// the same on every rank. @param shard_device where the shard and its gradient are: `device` or the host.
  /// @param source null, or the ranks whose rank 0 has the values.
  FlatGroup(int number, const std::vector<NamedParameter>& parameters, const GroupTypes& types, int rank,
            int ranks, torch::Device device, torch::Device shard_device, Watcher& watcher,
            Communicator* source);
  ~FlatGroup();
  FlatGroup(const FlatGroup&) = delete;
  FlatGroup& operator=(const FlatGroup&) = delete;

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] GroupState state() const { return state_; }
  [[nodiscard]] const GroupTypes& types() const { return types_; }
  [[nodiscard]] std::vector<Member>& members() { return members_; }
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  /// Elements of all ranks, gaps included.
  [[nodiscard]] std::int64_t numel() const { return layout_.whole(); }
  /// False: the parameter got other memory than the group's.
  [[nodiscard]] bool owns(const torch::Tensor& parameter) const {
    return parameter.has_storage() && parameter.storage().is_alias_of(storage_);
  }
  /// Of the parameters that require a gradient now.
  [[nodiscard]] std::size_t trainable() const;

  // ---- parameters --------------------------------------------------------------------------------
  /// kSharded -> kGathering.
  void gather(Exchange& exchange, BufferPool& buffers);
  /// kGathering -> kWhole. @throws std::runtime_error as Work::wait().
  void wait();
  /// -> kSharded. Waits for a gather under way.
  void drop(BufferPool& buffers);
  /// An operator writes in place: the shard follows with write_back().
  void set_dirty() { is_dirty_ = true; }
  /// The whole parameters into the shard, if they were written to. Does not change the state.
  void write_back();
  /// For good: every parameter gets memory of its own again. Only a group that one rank holds can do so.
  void release();

  // ---- gradients ---------------------------------------------------------------------------------
  /// What the ranks send each other: for each rank its part, and behind it one number a parameter: 1 if this
  /// rank has a gradient of it, so that a parameter that no rank used can be told from one whose gradient is
  /// zero. Takes the gradients away from the parameters.
  /// @param scale they are multiplied by it.
  [[nodiscard]] torch::Tensor pack(BufferPool& buffers, double scale);
  /// Adds a part of the sum of all packed ones to the gradients of the pieces.
  void unpack(const torch::Tensor& sum);
  /// Counts gathers and reductions, so that messages of different ones cannot be mixed up.
  std::int64_t gathers = 0, reductions = 0;

 private:
  [[nodiscard]] torch::Tensor own_part() const;

  int number_, rank_;
  GroupTypes types_;
  torch::Device device_;
  FlatLayout layout_;
  GroupState state_ = GroupState::kSharded;
  bool is_dirty_ = false;
  std::vector<Member> members_;
  torch::Tensor shard_;   ///< this rank's part, of the master type
  c10::Storage storage_;  ///< of the parameters
  /// All of the storage as one dimension. Its version counter is its own: a gather is no change that autograd
  /// has to know of.
  torch::Tensor whole_;
  std::size_t bytes_ = 0;
  std::int64_t flags_ = 0;  ///< elements behind each part in pack()
  bool all_had_gradients_ = false;
  Transfer arriving_;
};

}  // namespace rtrain::sharding
