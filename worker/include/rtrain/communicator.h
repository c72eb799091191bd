// What a group of ranks does together: collectives on tensors.
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

/// A collective that was started. Its tensors belong to it until wait() returns. Dropping it does not cancel
/// it: the other ranks count on it.
/// @thread the thread that started it.
class RTRAIN_API Work {
 public:
  /// What a communicator knows of a collective that is under way.
  class RTRAIN_API Pending {
   public:
    virtual ~Pending() = default;
    [[nodiscard]] virtual bool is_done() const = 0;
    virtual void wait(std::optional<std::chrono::milliseconds> limit) = 0;
  };

  Work() = default;  ///< done
  explicit Work(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}

  [[nodiscard]] bool is_done() const { return !pending_ || pending_->is_done(); }
  /// CPU: blocks until the result is there. CUDA: orders the current stream after the collective and returns
  /// at once. A second call returns at once.
  /// @param limit left out: the communicator's timeout.
  /// @throws std::runtime_error names the operation, this rank, the size of the group and the cause.
  void wait(std::optional<std::chrono::milliseconds> limit = std::nullopt);

 private:
  std::unique_ptr<Pending> pending_;
};

/// One group of ranks. Every rank of the group makes the same calls in the same order, with tensors of the
/// same shapes and types. A tensor lies on the CPU, or on the device of its rank. In a group of 1 every call
/// returns at once.
///
/// The blocking calls return on the CPU when they are done; on CUDA they are ordered on the current stream.
/// The start_ calls return at once and take contiguous tensors only.
/// @throws std::runtime_error operation, rank and cause: a peer that died, a timeout;
///         std::invalid_argument a rank that is none of the group's, or a tensor that does not fit.
/// @thread the training thread, unless a call says otherwise.
class RTRAIN_API Communicator {
 public:
  enum class Op { kSum, kMean, kMin, kMax };

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] virtual int rank() const = 0;  ///< of this process within the group
  [[nodiscard]] virtual int world_size() const = 0;
  [[nodiscard]] bool is_alone() const { return world_size() == 1; }

  // ---- blocking ----------------------------------------------------------------------------------
  /// In place. kMean of integers is refused by LibTorch.
  void all_reduce(torch::Tensor tensor, Op op = Op::kSum);
  /// In place: what rank `root` has.
  void broadcast(torch::Tensor tensor, int root = 0);
  /// The same for many tensors, in as few messages as fit.
  virtual void broadcast_all(const std::vector<torch::Tensor>& tensors, int root = 0);
  /// By rank.
  [[nodiscard]] std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor);
  /// Rank `root`'s text, of any length. `device`: where this rank's collectives work.
  [[nodiscard]] std::string broadcast_text(const std::string& own, int root, torch::Device device);
  /// Returns on each rank when all ranks have called it.
  virtual void barrier() = 0;
  /// For a call that a rank can make alone by mistake: returns when every rank has come to the same `place`.
  /// Costs a few round trips to the job's store and no collective.
  /// @throws std::runtime_error names the ranks that are elsewhere, and where, within seconds.
  virtual void meet(const std::string& place) = 0;

  // ---- started, and waited for later -------------------------------------------------------------
  /// `what`: a literal that names the operation in errors and in the diagnosis of a hang.
  [[nodiscard]] virtual Work start_all_reduce(torch::Tensor tensor, Op op = Op::kSum,
                                              const char* what = "all_reduce") = 0;
  [[nodiscard]] virtual Work start_broadcast(torch::Tensor tensor, int root = 0,
                                             const char* what = "broadcast") = 0;
  /// `output` holds world_size() times the elements of `input`: rank k's at k * input.numel(). `input` may be
  /// this rank's part of `output`.
  [[nodiscard]] virtual Work start_all_gather(torch::Tensor output, torch::Tensor input,
                                              const char* what = "all_gather") = 0;
  /// `input` holds world_size() times the elements of `output`, which gets this rank's part of the result.
  [[nodiscard]] virtual Work start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op op = Op::kSum,
                                                  const char* what = "reduce_scatter") = 0;
  /// Messages between two ranks. A message is received by the recv with its tag; those of one tag arrive in
  /// the order in which they were sent. @param tag 0 or more.
  [[nodiscard]] virtual Work start_send(torch::Tensor tensor, int to, int tag = 0,
                                        const char* what = "send") = 0;
  [[nodiscard]] virtual Work start_recv(torch::Tensor tensor, int from, int tag = 0,
                                        const char* what = "recv") = 0;

  // ---- parts of the group ------------------------------------------------------------------------
  /// A group of some ranks of this one. Every rank of this group calls it with the same arguments, in the
  /// same order among all calls of subgroup(); a rank that is not a member gets null.
  /// @param ranks ascending, each once, within this group. @param name for errors: "shard".
  [[nodiscard]] virtual std::shared_ptr<Communicator> subgroup(const std::vector<int>& ranks,
                                                               const std::string& name) = 0;

  /// Of the waits from now on. @param timeout more than 0.
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;
  /// The group as c10d has it, for c10d's own parts such as the Reducer; null in a group of 1.
  [[nodiscard]] virtual c10d::ProcessGroup* c10d_group() const { return nullptr; }

  /// A group of this rank alone.
  [[nodiscard]] static std::shared_ptr<Communicator> alone();

 protected:
  Communicator() = default;
  /// @throws std::invalid_argument names `operation` and `rank`.
  void require_rank(const char* operation, const char* role, int rank) const;
};

}  // namespace rtrain
