// The ranks of a job, joined: their communicator and their store.
#pragma once

#include "worker/comm/c10d_communicator.h"
#include "worker/comm/job_group_options.h"
#include "worker/comm/lookout.h"
#include "worker/runtime/key_value_store.h"
#include "worker/runtime/pulse.h"

#include <rtrain/communicator.h>

#include <chrono>
#include <memory>
#include <string>

namespace rtrain::comm {

/// One a job and process. A world of 1 needs no store.
/// @thread the training thread.
class JobGroup {
 public:
  /// @throws std::invalid_argument no such backend; std::runtime_error the ranks do not come together: names
  ///         this rank, backend, address and cause.
  JobGroup(const JobGroupOptions& options, runtime::Pulse& pulse);
  /// Leaves the threads of the backends alone: a process that ends any way it likes must not wait for them.
  ~JobGroup();
  JobGroup(const JobGroup&) = delete;
  JobGroup& operator=(const JobGroup&) = delete;

  /// The end of this rank's part. Rank 0 waits for the others here: it holds the store that they may still
  /// need. Call it once, last.
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
  std::unique_ptr<Lookout> lookout_;
};

}  // namespace rtrain::comm
