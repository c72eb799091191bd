// A c10d group whose calls stand in the flight recorder, whoever makes them.
#pragma once

#include "worker/runtime/flight_recorder.h"

#include <torch/types.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <functional>
#include <string>
#include <vector>

namespace rtrain::comm {

/// A communicator records its own calls, with their names and the waits for them. What c10d's Reducer and
/// hooks of communication call is recorded here: sums of gradients, and broadcasts.
class RecordedGroup final : public c10d::ProcessGroup {
 public:
  /// Before a call that no communicator makes; throws where the ranks differ and that is looked at.
  using Begin = std::function<runtime::FlightRecorder::Ticket(const runtime::FlightCall&)>;

  RecordedGroup(c10::intrusive_ptr<c10d::Store> store, int rank, int world_size)
      : ProcessGroup(std::move(store), rank, world_size) {}
  void record_with(Begin begin) { begin_ = std::move(begin); }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override;
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override;

  /// While it lives, this thread's calls are recorded by who makes them.
  class Quiet {
   public:
    Quiet() noexcept;
    ~Quiet();
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
  };

 private:
  template <class Call>
  c10::intrusive_ptr<c10d::Work> recorded(runtime::FlightCall flight, const torch::Tensor& tensor, Call call);
  Begin begin_;
};

}  // namespace rtrain::comm
