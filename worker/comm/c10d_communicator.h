// A communicator over c10d's backends: Gloo, and NCCL for CUDA tensors.
#pragma once

#include "worker/runtime/flight_recorder.h"
#include "worker/runtime/key_value_store.h"
#include "worker/runtime/pulse.h"

#include <rtrain/communicator.h>

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace c10d {
class ProcessGroup;
class Store;
class Work;
}  // namespace c10d

namespace rtrain::comm {

class RecordedGroup;

struct GroupOptions {
  std::string name;  ///< "job", "shard"
  int rank = 0, world_size = 1;
  bool nccl = false;  ///< NCCL for CUDA tensors; CPU tensors always use Gloo
  torch::Device device = torch::kCPU;
  std::string node_address;  ///< the local address that Gloo binds to
  std::chrono::milliseconds timeout{}, init_timeout{};
  std::vector<int> ranks;  ///< of the job, in the order of the group; empty: 0 to world_size - 1
  std::string path = "0";  ///< the same on every rank of the group, and its alone
};

/// RTRAIN_DEBUG_COLLECTIVES=1, or TORCH_DISTRIBUTED_DEBUG=DETAIL as in PyTorch: before each collective the
/// ranks compare what they are about to call. Read once.
[[nodiscard]] bool debugs_collectives();

/// The message of a library error without its source location ("[pair.cc:525] Connection closed by peer") and
/// backtrace.
[[nodiscard]] std::string cause_of(const std::exception& error);

class C10dCommunicator final : public Communicator {
 public:
  /// Connects to the other ranks of the group.
  /// @param store the job's store; the group prefixes its keys with its name and `number`, which must be
  ///        unique among groups.
  /// @param pulse records where this rank waits.
  /// @param roll_call the job's store if the group is the whole job, so that a wait on the CPU can detect
  ///        that other ranks will never come; else null. pulse and roll_call must outlive the group.
  C10dCommunicator(GroupOptions options, c10::intrusive_ptr<c10d::Store> store, int number,
                   runtime::Pulse& pulse, runtime::KeyValueStore* roll_call);
  ~C10dCommunicator() override;

  [[nodiscard]] int rank() const override { return options_.rank; }
  [[nodiscard]] int world_size() const override { return options_.world_size; }
  void broadcast_all(const std::vector<torch::Tensor>& tensors, int root) override;
  void barrier() override;
  void meet(const std::string& place) override;
  Work start_all_reduce(torch::Tensor tensor, Op op, const char* what) override;
  Work start_broadcast(torch::Tensor tensor, int root, const char* what) override;
  Work start_all_gather(torch::Tensor output, torch::Tensor input, const char* what) override;
  Work start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op op, const char* what) override;
  Work start_send(torch::Tensor tensor, int to, int tag, const char* what) override;
  Work start_recv(torch::Tensor tensor, int from, int tag, const char* what) override;
  std::shared_ptr<Communicator> subgroup(const std::vector<int>& ranks, const std::string& name) override;
  void set_timeout(std::chrono::milliseconds timeout) override;
  [[nodiscard]] bool is_capturable() const override { return options_.nccl; }
  [[nodiscard]] c10d::ProcessGroup* c10d_group() const override;

  /// Shuts the backends down. The other ranks must have made their last call.
  void shutdown();

 private:
  class Pending;
  enum class Waiting {
    kOnDevice,  ///< the host goes on
    kInSlices,  ///< the host waits, and looks now and then whether the others will ever come
    kInOne,     ///< the host waits for a message of Gloo, which a wait that times out breaks
  };
  [[nodiscard]] static Waiting collective(const torch::Tensor& tensor);
  [[nodiscard]] Waiting message(const torch::Tensor& tensor) const;
  /// Gloo's messages read and write memory of the host only.
  [[nodiscard]] bool through_host(const torch::Tensor& tensor) const;
  using Ticket = runtime::FlightRecorder::Ticket;
  template <class Call>
  void attempt(const runtime::FlightCall& flight, Ticket ticket, bool compares, Call call);
  template <class Call>
  Work start(runtime::FlightCall flight, Waiting waiting, Call call);
  /// @throws std::runtime_error while the ranks compare calls, where they differ.
  [[nodiscard]] Ticket begin(const runtime::FlightCall& flight);
  void compare(Ticket ticket, const runtime::FlightCall& flight);
  [[nodiscard]] std::optional<runtime::Pulse::InCollective> noted(const char* what, std::int64_t seq);
  void finish(c10d::Work& work, Waiting waiting, const char* what, Ticket ticket, std::int64_t seq,
              std::chrono::milliseconds timeout);
  [[noreturn]] void fail(const char* what, const std::exception& error) const;

  GroupOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  runtime::Pulse& pulse_;
  runtime::KeyValueStore* roll_call_;
  int subgroups_ = 0;
  int recorded_as_ = 0;  ///< number of the group in the flight recorder
  c10::intrusive_ptr<RecordedGroup> group_;
};

}  // namespace rtrain::comm
