#include "worker/comm/recorded_group.h"

#include <torch/torch.h>

namespace rtrain::comm {
namespace {

thread_local int quiet_depth = 0;

}  // namespace

RecordedGroup::Quiet::Quiet() noexcept { ++quiet_depth; }
RecordedGroup::Quiet::~Quiet() { --quiet_depth; }

/// Who made the call waits for it sooner or later, in c10d: the end is heard of from the work itself. On a
/// device the host only hears that it was queued.
template <class Call>
c10::intrusive_ptr<c10d::Work> RecordedGroup::recorded(runtime::FlightCall flight,
                                                       const torch::Tensor& tensor, Call call) {
  auto& recorder = runtime::flight_recorder();
  const auto ticket = begin_(flight);
  const Quiet quiet;
  c10::intrusive_ptr<c10d::Work> work;
  try {
    work = call();
  } catch (...) {
    recorder.failed(ticket);
    throw;
  }
  if (!tensor.is_cpu()) {
    recorder.queued(ticket);
    return work;
  }
  recorder.wait(ticket);
  if (const auto future = work->getFuture())
    future->addCallback([ticket](c10::ivalue::Future& ended) {
      if (ended.hasError())
        runtime::flight_recorder().failed(ticket);
      else
        runtime::flight_recorder().finish(ticket);
    });
  return work;
}

c10::intrusive_ptr<c10d::Work> RecordedGroup::allreduce(std::vector<at::Tensor>& tensors,
                                                        const c10d::AllreduceOptions& options) {
  const auto call = [&] { return ProcessGroup::allreduce(tensors, options); };
  if (quiet_depth > 0 || !begin_ || tensors.empty()) return call();
  return recorded(
      runtime::flight_of(runtime::FlightOperation::kAllReduce, "reduction of gradients", tensors[0]),
      tensors[0], call);
}

c10::intrusive_ptr<c10d::Work> RecordedGroup::broadcast(std::vector<at::Tensor>& tensors,
                                                        const c10d::BroadcastOptions& options) {
  const auto call = [&] { return ProcessGroup::broadcast(tensors, options); };
  if (quiet_depth > 0 || !begin_ || tensors.empty()) return call();
  auto flight = runtime::flight_of(runtime::FlightOperation::kBroadcast, "broadcast", tensors[0]);
  flight.root = static_cast<int>(options.rootRank);
  return recorded(flight, tensors[0], call);
}

}  // namespace rtrain::comm
