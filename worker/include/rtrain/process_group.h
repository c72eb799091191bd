// The process group of a job and data-parallel gradients, for loops without the Trainer.
//   // in main() of a `command` job; a training function has joined already
//   auto group = rtrain::init_process_group();
//   // parameters are rank 0's; loss.backward() averages the gradients over the ranks
//   auto shared = rtrain::prepare_model(*net);
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/export.h>

#include <torch/types.h>

#include <memory>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace rtrain {

/// The group of all ranks of the job. A training function has joined it already; a `command` program joins it
/// with init_process_group().
/// @throws std::logic_error if this process has not joined.
[[nodiscard]] RTRAIN_API Communicator& process_group();

/// A `command` program's membership in its job's group, for the lifetime of the object. The destructor sends
/// pending reports; on rank 0, which serves the store, it also waits for the other ranks. While an exception
/// propagates it does neither.
class RTRAIN_API JoinedGroup {
 public:
  JoinedGroup(JoinedGroup&&) noexcept;
  JoinedGroup& operator=(JoinedGroup&&) = delete;
  ~JoinedGroup();
  [[nodiscard]] Communicator& operator*() const { return process_group(); }
  [[nodiscard]] Communicator* operator->() const { return &process_group(); }

 private:
  friend RTRAIN_API JoinedGroup init_process_group();
  JoinedGroup();
  bool joined_ = true;
  int exceptions_ = 0;  // in flight at construction
};

/// Joins the job's group. Rank, world size and rank 0's address come from the environment that the agent
/// sets, backend and timeouts from torch_config. Call it once per process, first in main(), on every rank.
/// Afterwards report() accepts checkpoints on several ranks. Outside a job: a world of 1.
/// In a job it also installs a terminate handler: an exception of c10d or CUDA that nobody catches, such as
/// those that c10d's watchdog throws in its own thread, ends the process with status 1 and is the rank's
/// error, with its text and class. Other exceptions go to the handler that was there before, by default to
/// abort(). A program that installs its own afterwards replaces it.
/// @throws std::logic_error if called twice or in a training function; std::runtime_error if the ranks cannot
///        meet.
[[nodiscard]] RTRAIN_API JoinedGroup init_process_group();

/// The result of prepare_model(): keeps a module's gradients the same on every rank. It holds the module's
/// parameters, not the module. Each backward() that reaches one of them ends with the gradients of all of
/// them averaged over the ranks. A parameter without a gradient on one rank counts as 0 there; one without a
/// gradient on any rank keeps none. Clip after backward(), for example with
/// torch::nn::utils::clip_grad_norm_: the gradients, and so the result, are the same on every rank.
/// @thread the training thread.
class RTRAIN_API SharedGradients {
  struct Impl;

 public:
  SharedGradients(SharedGradients&&) noexcept;
  SharedGradients& operator=(SharedGradients&&) noexcept;
  ~SharedGradients();  ///< makes backward() local again

  /// While it exists, backward() leaves each rank its own gradients: for all but the last backward() of a
  /// gradient accumulation.
  class RTRAIN_API NoSync {
   public:
    NoSync(const NoSync&) = delete;
    NoSync& operator=(const NoSync&) = delete;
    ~NoSync();

   private:
    friend class SharedGradients;
    explicit NoSync(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
  };
  [[nodiscard]] NoSync no_sync();
  /// Averages the current gradients: after several backward() calls under no_sync(), or if one step has
  /// several of them.
  void sync();
  /// Broadcasts rank 0's buffers (such as the running means of batch norm). prepare_model() does it once.
  void sync_buffers();

 private:
  friend RTRAIN_API SharedGradients prepare_model(torch::nn::Module& module);
  explicit SharedGradients(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// Ray's prepare_model(): moves the module to get_device(), broadcasts rank 0's parameters and buffers, and
/// from then on averages the gradients over the ranks in every backward(). Call it before or after creating
/// the optimizer, but after freezing or moving layers: only parameters that require a gradient at that time
/// take part. In a world of 1 it only moves the module.
/// @throws std::runtime_error if the ranks' models differ (names the first parameter) or no parameter
///        requires a gradient; std::logic_error if the job has several ranks and the process has not joined a
///        group.
[[nodiscard]] RTRAIN_API SharedGradients prepare_model(torch::nn::Module& module);

}  // namespace rtrain
