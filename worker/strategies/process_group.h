// The process group of the job, as the rest of the worker sees it: collectives on tensors. c10d stays behind
// it.
#pragma once

#include "rtrain/export.h"

#include <torch/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class ProcessGroup;
}  // namespace c10d
namespace rtrain::runtime {
class KeyValueStore;
}  // namespace rtrain::runtime

namespace rtrain {

/// A connection of its own to the job's store, for other threads than the training thread's. @throws
/// std::runtime_error
[[nodiscard]] std::unique_ptr<runtime::KeyValueStore> connect_store(const std::string& host, int port,
                                                                    std::chrono::milliseconds timeout);

struct ProcessGroupOptions {
  /// "gloo": for all tensors; "nccl": NCCL for CUDA tensors and Gloo for those on the CPU
  std::string backend = "gloo";
  int rank = 0, world_size = 1;
  std::string master_addr;
  int master_port = 0;
  std::string node_address;  ///< the address Gloo binds to
  std::chrono::milliseconds timeout{1800'000}, init_timeout{300'000};
  torch::Device device = torch::kCPU;
  bool alone_too = false;  ///< store and backends also in a world of 1: so one GPU is enough to try NCCL
};

/// The job's group. Made once a process before the training function runs; a world of 1 needs no store and
/// its collectives are no-ops. Collectives are blocking for the host on CPU, ordered on the current stream on
/// CUDA.
/// @throws std::runtime_error names operation, rank and cause (a peer that died: "connection closed by peer";
/// on the CPU within
///         seconds: a peer that is in another collective or has returned, with its place).
class RTRAIN_API Collectives {
 public:
  /// TCPStore on rank 0's master_port, then Gloo or NCCL
  static void initialize(const ProcessGroupOptions& options);
  /// The end of this rank's part. Rank 0 waits for the others here: it holds the store that they may still
  /// need.
  static void shutdown();
  [[nodiscard]] static bool initialized();
  [[nodiscard]] static int rank();
  [[nodiscard]] static int world_size();

  enum class Op { kSum, kMean, kMin, kMax };
  static void all_reduce(torch::Tensor& tensor, Op op = Op::kSum);
  static void broadcast(torch::Tensor& tensor, int root = 0);
  [[nodiscard]] static std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor);
  static void barrier();
  /// Returns when every rank has come to the same `place`. For calls that a rank can make alone by mistake:
  /// it costs a few round trips to the store and no collective. @throws std::runtime_error names the ranks
  /// that are elsewhere, and where.
  static void meet(const std::string& place);
  /// The job's key-value store; null in a world of 1.
  [[nodiscard]] static runtime::KeyValueStore* store();
  /// Strategies only. @throws std::logic_error a world of 1, or not initialised.
  [[nodiscard]] static const c10::intrusive_ptr<c10d::ProcessGroup>& process_group();
};

}  // namespace rtrain
