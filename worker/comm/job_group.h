// The joined ranks of a job: their communicator and their store.
#pragma once

#include "worker/comm/c10d_communicator.h"
#include "worker/comm/job_group_options.h"
#include "worker/comm/stall_publisher.h"
#include "worker/runtime/key_value_store.h"
#include "worker/runtime/pulse.h"

#include <rtrain/communicator.h>

#include <chrono>
#include <memory>
#include <string>

namespace rtrain::comm {

/// One per job and process. A world of 1 needs no store.
/// @thread the training thread.
class JobGroup {
 public:
  /// @throws std::invalid_argument if the backend is unknown; std::runtime_error if the ranks cannot meet:
  ///        names this rank, backend, address and cause.
  JobGroup(const JobGroupOptions& options, runtime::Pulse& pulse);
  /// Does not wait for the threads of the backends: the process must be able to end at any time.
  ~JobGroup();
  JobGroup(const JobGroup&) = delete;
  JobGroup& operator=(const JobGroup&) = delete;

  /// Ends this rank's membership. Rank 0 waits here for the other ranks, which may still need the store that
  /// it serves. Must be the last call, once.
  void leave() noexcept;

  [[nodiscard]] const std::shared_ptr<Communicator>& communicator() const { return communicator_; }
  /// The job's key-value store; null in a world of 1.
  [[nodiscard]] runtime::KeyValueStore* store() const { return store_.get(); }

 private:
  void connect(const JobGroupOptions& options);
  [[nodiscard]] bool wait_for_others();

  runtime::Pulse& pulse_;
  int rank_, world_size_;
  bool on_gpu_;
  c10::intrusive_ptr<c10d::Store> tcp_store_;
  std::unique_ptr<runtime::KeyValueStore> store_;
  std::shared_ptr<C10dCommunicator> joined_;  ///< null in a world of 1
  std::shared_ptr<Communicator> communicator_;
  std::unique_ptr<StallPublisher> stall_publisher_;
};

}  // namespace rtrain::comm
