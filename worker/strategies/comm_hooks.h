// What a communication hook of DDP does in one run.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/plan.h>
#include <rtrain/strategies/comm_hooks.h>

#include <ATen/core/ivalue.h>
#include <torch/types.h>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// Where a hook runs. @lifetime the ranks outlive the run.
struct HookPlace {
  Communicator& ranks;
  torch::Device device;
  /// Of a parameter of the module.
  std::function<std::string(const torch::Tensor&)> name_of;
};

using HookFuture = c10::intrusive_ptr<c10::ivalue::Future>;

/// The hook of one run. Each Reducer of the run has a c10d hook that calls it.
/// @thread the thread of autograd that runs backward; buckets come in their order, the same on every rank.
class HookRun {
 public:
  HookRun() = default;
  virtual ~HookRun() = default;
  HookRun(const HookRun&) = delete;
  HookRun& operator=(const HookRun&) = delete;

  /// Averages a dense bucket over the ranks, in place. @return holds the bucket's buffer.
  [[nodiscard]] virtual HookFuture reduce(c10d::GradBucket& bucket) = 0;
  /// True if the latest backward left this rank with gradients that not all ranks have.
  [[nodiscard]] virtual bool gradients_differ() const { return false; }
  /// Adds what a run that resumes needs; null: nothing. Tensors go under names that begin with "hook.".
  [[nodiscard]] virtual nlohmann::json save(PlanState& /*state*/) const { return nullptr; }
  /// @param saved what save() returned; null: begin anew.
  virtual void load(const nlohmann::json& /*saved*/, const PlanState& /*state*/) {}
};

/// What a CommHook is made of. It makes the hook of a run.
class CommHook::Recipe {
 public:
  Recipe() = default;
  virtual ~Recipe() = default;
  Recipe(const Recipe&) = delete;
  Recipe& operator=(const Recipe&) = delete;

  [[nodiscard]] virtual std::string name() const = 0;
  /// A collective where the hook needs groups of its own.
  [[nodiscard]] virtual std::unique_ptr<HookRun> start(const HookPlace& place) const = 0;
  /// The type in which buckets are handed to the hook; nullopt: their own.
  [[nodiscard]] virtual std::optional<torch::ScalarType> cast() const { return std::nullopt; }
  /// Null: the gradients of all ranks are averaged in every step.
  [[nodiscard]] virtual const comm_hooks::PostLocalSGDOptions* local_sgd() const { return nullptr; }
};

/// Divides by the size of the group and starts the sum.
[[nodiscard]] HookFuture start_average(torch::Tensor tensor, Communicator& ranks);
/// A future that has its value.
[[nodiscard]] HookFuture completed(const torch::Tensor& tensor);
/// The hook for one more Reducer. @lifetime `run` outlives it.
[[nodiscard]] std::unique_ptr<c10d::CommHookInterface> hook_for_reducer(
    HookRun& run, Communicator& ranks, std::optional<torch::ScalarType> cast);

}  // namespace rtrain
