// Collectives on tensors over a group of ranks.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace c10d {
class ProcessGroup;
}  // namespace c10d

namespace rtrain {

/// A collective in progress. It owns its tensors until wait() returns. Destroying it does not cancel it,
/// because the other ranks take part in it.
/// @thread the thread that started it.
class RTRAIN_API Work {
 public:
  /// The communicator's handle for a collective in progress.
  class RTRAIN_API Pending {
   public:
    virtual ~Pending() = default;
    [[nodiscard]] virtual bool is_done() const = 0;
    virtual void wait(std::optional<std::chrono::milliseconds> limit) = 0;
  };

  Work() = default;  ///< already done
  explicit Work(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}

  [[nodiscard]] bool is_done() const { return !pending_ || pending_->is_done(); }
  /// CPU: blocks until the result is available. CUDA: orders the current stream after the collective and
  /// returns at once. A second call returns at once.
  /// @param limit default: the communicator's timeout.
  /// @throws std::runtime_error names the operation, this rank, the size of the group and the cause.
  void wait(std::optional<std::chrono::milliseconds> limit = std::nullopt);

 private:
  std::unique_ptr<Pending> pending_;
};

/// A group of ranks. Every rank of the group makes the same calls in the same order, with tensors of the same
/// shapes and types. A tensor is on the CPU or on its rank's device. In a group of one, every call returns at
/// once.
///
/// The blocking calls return on the CPU when they are complete; on CUDA they are ordered on the current
/// stream. The start_ calls return at once and take contiguous tensors only.
/// @throws std::runtime_error if a peer died or the timeout passed: names operation, rank and cause;
///        std::invalid_argument if a rank is outside the group or a tensor does not fit.
/// @thread the training thread, unless a call says otherwise.
class RTRAIN_API Communicator {
 public:
  enum class Op { kSum, kMean, kMin, kMax };

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] virtual int rank() const = 0;  ///< of this process within the group, from 0
  [[nodiscard]] virtual int world_size() const = 0;
  [[nodiscard]] bool is_alone() const { return world_size() == 1; }

  // ---- blocking ----------------------------------------------------------------------------------
  /// In place. LibTorch refuses kMean of integers.
  void all_reduce(torch::Tensor tensor, Op op = Op::kSum);
  /// In place: copies the tensor of rank `root` to every rank.
  void broadcast(torch::Tensor tensor, int root = 0);
  /// The same for many tensors, in as few messages as possible.
  virtual void broadcast_all(const std::vector<torch::Tensor>& tensors, int root = 0);
  /// Returns the tensors of all ranks, indexed by rank.
  [[nodiscard]] std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor);
  /// Returns the text of rank `root`, of any length. `device`: the device of this rank's collectives.
  [[nodiscard]] std::string broadcast_text(const std::string& own, int root, torch::Device device);
  /// Returns once all ranks have called it.
  virtual void barrier() = 0;
  /// Guards a call that a rank could make alone by mistake: returns once every rank has reached the same
  /// `place`. It costs a few round trips to the job's store and no collective.
  /// @throws std::runtime_error within seconds if the ranks are at different places: names the ranks and
  ///        their places.
  virtual void meet(const std::string& place) = 0;

  // ---- asynchronous ------------------------------------------------------------------------------
  /// `what`: a string literal that names the operation in errors and in the diagnosis of a hang.
  [[nodiscard]] virtual Work start_all_reduce(torch::Tensor tensor, Op op = Op::kSum,
                                              const char* what = "all_reduce") = 0;
  [[nodiscard]] virtual Work start_broadcast(torch::Tensor tensor, int root = 0,
                                             const char* what = "broadcast") = 0;
  /// `output` holds world_size() times the elements of `input`; the part of rank k starts at k *
  /// input.numel(). `input` may be this rank's part of `output`.
  [[nodiscard]] virtual Work start_all_gather(torch::Tensor output, torch::Tensor input,
                                              const char* what = "all_gather") = 0;
  /// `input` holds world_size() times the elements of `output`, which receives this rank's part of the
  /// result.
  [[nodiscard]] virtual Work start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op op = Op::kSum,
                                                  const char* what = "reduce_scatter") = 0;
  /// Point-to-point messages. A receive matches the send with its tag; messages with one tag arrive in the
  /// order in which they were sent. @param tag 0 or more.
  [[nodiscard]] virtual Work start_send(torch::Tensor tensor, int to, int tag = 0,
                                        const char* what = "send") = 0;
  [[nodiscard]] virtual Work start_recv(torch::Tensor tensor, int from, int tag = 0,
                                        const char* what = "recv") = 0;

  // ---- subgroups ---------------------------------------------------------------------------------
  /// A group of some of this group's ranks. Every rank of this group calls it with the same arguments, and
  /// makes all subgroup() calls in the same order; a rank that is not a member gets null.
  /// @param ranks within this group, ascending, without duplicates. @param name for error messages: "shard".
  [[nodiscard]] virtual std::shared_ptr<Communicator> subgroup(const std::vector<int>& ranks,
                                                               const std::string& name) = 0;

  /// True if collectives of CUDA tensors can be captured into a CUDA graph: those of NCCL.
  [[nodiscard]] virtual bool is_capturable() const { return false; }
  /// Sets the timeout of later waits. @param timeout greater than 0.
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;
  /// The underlying c10d group, for c10d's own parts such as the Reducer; null in a group of one.
  [[nodiscard]] virtual c10d::ProcessGroup* c10d_group() const { return nullptr; }

  /// A group that contains this rank only.
  [[nodiscard]] static std::shared_ptr<Communicator> alone();

 protected:
  Communicator() = default;
  /// @throws std::invalid_argument if `rank` is outside the group: names `operation` and `rank`.
  void require_rank(const char* operation, const char* role, int rank) const;
};

}  // namespace rtrain
