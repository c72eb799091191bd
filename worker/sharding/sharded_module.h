// A module whose parameters are spread over ranks, and whole only while they are read.
#pragma once

#include "worker/sharding/buffer_pool.h"
#include "worker/sharding/exchange.h"
#include "worker/sharding/flat_group.h"
#include "worker/sharding/gather_schedule.h"
#include "worker/sharding/intercept.h"

#include <rtrain/communicator.h>
#include <rtrain/state_tree.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rtrain::sharding {

/// Parameters that are gathered together: a block of a transformer.
struct UnitPlan {
  std::string name;
  std::vector<NamedParameter> parameters;
};

struct ShardingOptions {
  ScheduleOptions schedule{};
  std::optional<torch::ScalarType> compute_type{};  ///< of floating-point parameters; default: their own
  std::optional<torch::ScalarType> reduce_type{};   ///< default: compute_type, else the parameters' own
  /// Reduce the gradients of each batch of an accumulation, so that no rank keeps whole ones.
  bool accumulate_in_shards = false;
  /// Start a reduction only when the one before it has ended.
  bool one_transfer = false;
  std::size_t kept_buffers = 3;
  Communicator* source = nullptr;  ///< rank 0 of these ranks has the values; null: every rank has
  bool on_host = false;            ///< shards, their gradients and the optimizer's state are in host memory
};

/// @thread the training thread, and the threads of autograd while the training thread waits for them.
class ShardedModule final : private Watcher {
 public:
  /// Takes the memory of the parameters away. Every rank gives the same units with the same values.
  /// @param who "FSDPStrategy", for messages.
  /// @param shards the ranks that hold one copy of the module together. @param replicas the ranks that hold
  /// the same part of other copies. @lifetime both must outlive the object.
  /// @throws std::invalid_argument a parameter that cannot be sharded (names it).
  ShardedModule(std::string who, const std::vector<UnitPlan>& units, Communicator& shards,
                Communicator& replicas, torch::Device device, const ShardingOptions& options);
  /// With one rank the parameters get their memory back. With more nobody can: reading one is an error then.
  ~ShardedModule() override;
  ShardedModule(const ShardedModule&) = delete;
  ShardedModule& operator=(const ShardedModule&) = delete;

  // ---- a step ------------------------------------------------------------------------------------
  /// Parameters may be read from here on. @param training gradients will be computed.
  void begin_forward(bool training);
  /// @param sync the gradients are reduced; else they stay where backward leaves them, or are reduced into
  /// shards only (accumulate_in_shards).
  void begin_backward(bool sync);
  /// Reduces what backward has not, waits, and gives each piece its gradient.
  void end_backward();
  /// Reduces gradients that an earlier backward has left.
  void reduce_left_gradients();
  /// The shards are about to change: what was written into whole parameters moves into them.
  void before_step();
  /// The shards have changed: whole parameters are out of date.
  void after_step();
  /// Parameters may not be read any more.
  void end_batch();

  /// Runs `body` with every parameter whole. What it changes is kept.
  void with_whole(const std::function<void()>& body);
  /// Runs `body`, which may write into pieces. No collective.
  void with_pieces(const std::function<void()>& body);

  // ---- what a strategy has to know ---------------------------------------------------------------
  /// What is held of a parameter. @lifetime as long as the module.
  struct Held {
    FlatGroup* group = nullptr;
    std::size_t member = 0;
    [[nodiscard]] FlatGroup::Member& operator*() const { return group->members()[member]; }
  };
  /// nullopt: it is not sharded here.
  [[nodiscard]] std::optional<Held> find(const torch::Tensor& parameter) const;
  [[nodiscard]] std::optional<Held> find_piece(const torch::Tensor& piece) const;
  /// Parameters and buffers of the module that this is; of what is sharded, this rank's part, with what was
  /// written into whole parameters.
  [[nodiscard]] StateTree state_of(const torch::nn::Module& module);
  /// @throws std::logic_error a parameter got other memory, by to() or set_data(): names it.
  void require_intact() const;
  [[nodiscard]] Communicator& shards() const { return shards_; }
  [[nodiscard]] Communicator& replicas() const { return replicas_; }

 private:
  struct Unit {
    std::string name;
    std::vector<int> groups;
    std::int64_t numel = 0;
  };
  struct Flight {  ///< a reduction under way
    FlatGroup* group;
    Exchange::Reduction reduction;
  };
  enum class Access : std::uint8_t { kClosed, kStep, kWhole };
  class GradientHook;

  void before_use(std::span<const Use> uses, std::string_view op) override;
  void require_open(int unit, std::string_view op) const;
  void gather(int unit);
  void wait(int unit, std::string_view op);
  void drop(int unit);
  void drop_all();
  void on_gradient(FlatGroup& group, std::size_t member);
  void reduce(FlatGroup& group);
  void finish_reduction();
  [[nodiscard]] const std::string& unit_of(const FlatGroup& group) const;
  /// Of the exception that is being handled.
  [[noreturn]] void fail(const std::string& unit, std::string_view doing);

  std::string who_;
  Communicator& shards_;
  Communicator& replicas_;
  ShardingOptions options_;
  BufferPool buffers_;
  Exchange exchange_;
  std::vector<std::unique_ptr<FlatGroup>> groups_;
  std::vector<Unit> units_;
  std::vector<int> unit_of_group_;
  std::unordered_map<const void*, Held> by_parameter_, by_piece_;
  std::unique_ptr<GatherSchedule> schedule_;
  Access access_ = Access::kClosed;
  bool syncs_ = true;  ///< this backward reduces
  bool in_backward_ = false;
  std::vector<bool> reduced_;  ///< by group, in this backward
  std::optional<Flight> flight_;
  std::string failed_;  ///< why nothing can be gathered any more
  std::recursive_mutex mutex_;
};

}  // namespace rtrain::sharding
