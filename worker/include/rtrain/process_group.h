// For loops without the Trainer: what the ranks of a job do together.
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

/// The ranks of the job: a training function finds them joined. @throws std::logic_error otherwise, when
/// init_process_group() was not called.
[[nodiscard]] RTRAIN_API Communicator& process_group();

/// Membership of a `command` program in its job's group, for as long as the object lives. The destructor
/// sends what was reported and, on rank 0, waits for the other ranks: it holds the store that they talk
/// through. It waits for nobody while an exception is thrown.
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
  int exceptions_ = 0;  // in flight when it was made
};

/// Joins the job's group: rank, world and rank 0's address are read from the environment that the agent sets,
/// backend and limits from torch_config. Once a process, first thing in main(), on every rank. From then on
/// report() takes checkpoints on several ranks. Outside a job: a world of 1.
/// @throws std::logic_error called twice, or in a training function; std::runtime_error the ranks do not come
/// together.
[[nodiscard]] RTRAIN_API JoinedGroup init_process_group();

/// Keeps the gradients of one module the same on every rank: what prepare_model() returns. Holds the module's
/// parameters, not the module. Each backward() that reaches one of them ends when the gradients of all of
/// them are averages over the ranks. A parameter that got no gradient on one rank counts as 0 there; one that
/// got none on any rank keeps none. Clipping comes after backward() and is the same on every rank, since the
/// gradients are: torch::nn::utils::clip_grad_norm_ needs nothing more.
/// @thread the training thread.
class RTRAIN_API SharedGradients {
  struct Impl;

 public:
  SharedGradients(SharedGradients&&) noexcept;
  SharedGradients& operator=(SharedGradients&&) noexcept;
  ~SharedGradients();  ///< backward() is local again

  /// While it lives, backward() leaves each rank its own gradients: for all but the last backward() of a
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
  /// Averages the gradients as they are now. After backward() passes under no_sync(), and where one step has
  /// several of them.
  void sync();
  /// Rank 0's buffers (running means of batch norm) on every rank. prepare_model() does it once.
  void sync_buffers();

 private:
  friend RTRAIN_API SharedGradients prepare_model(torch::nn::Module& module);
  explicit SharedGradients(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// Ray's prepare_model(): moves the module to get_device(), gives it rank 0's parameters and buffers, and
/// averages its gradients over the ranks in every backward() from now on. Before or after the optimizer is
/// made; after layers are frozen or moved, since only the parameters that require a gradient now take part.
/// In a world of 1 it moves the module and does nothing else.
/// @throws std::runtime_error the ranks' models differ (names the first parameter), or no parameter requires
/// a gradient;
///         std::logic_error the process has not joined a group, but its job has several ranks.
[[nodiscard]] RTRAIN_API SharedGradients prepare_model(torch::nn::Module& module);

}  // namespace rtrain
