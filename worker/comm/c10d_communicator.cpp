#include "worker/comm/c10d_communicator.h"

#include "worker/comm/backends.h"
#include "worker/comm/job_store.h"
#include "worker/comm/recorded_group.h"
#include "worker/comm/sliced_wait.h"
#include "worker/comm/stall_publisher.h"
#include "worker/runtime/roll_call.h"
#include "worker/runtime/run_within.h"
#include "worker/runtime/size_hint.h"

#include <c10/core/DeviceGuard.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>

namespace rtrain::comm {
namespace {

using runtime::FlightOperation;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What one message of broadcast_all() carries at most.
constexpr std::size_t kBroadcastBytes = 250 * 1024 * 1024;

/// Gloo had no mean when this was written, and NCCL's rounds in another order: a sum that is divided gives
/// the same bits everywhere.
c10d::ReduceOp::RedOpType reduce_op(Communicator::Op op) {
  switch (op) {
    case Communicator::Op::kMin: return c10d::ReduceOp::MIN;
    case Communicator::Op::kMax: return c10d::ReduceOp::MAX;
    case Communicator::Op::kSum:
    case Communicator::Op::kMean: break;
  }
  return c10d::ReduceOp::SUM;
}

const char* op_name(Communicator::Op op) {
  switch (op) {
    case Communicator::Op::kSum: return "sum";
    case Communicator::Op::kMean: return "mean";
    case Communicator::Op::kMin: return "min";
    case Communicator::Op::kMax: return "max";
  }
  return "";
}

std::vector<int> ranks_of(const GroupOptions& options) {
  if (!options.ranks.empty()) return options.ranks;
  std::vector<int> all(static_cast<std::size_t>(options.world_size));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void require_contiguous(const char* what, const torch::Tensor& tensor) {
  if (!tensor.is_contiguous())
    throw std::invalid_argument(std::string(what) + ": the tensor of shape " + c10::str(tensor.sizes()) +
                                " is not contiguous");
}

void require_parts(const char* what, const torch::Tensor& whole, const torch::Tensor& part, int ranks) {
  require_contiguous(what, whole);
  require_contiguous(what, part);
  if (whole.numel() == part.numel() * ranks && whole.scalar_type() == part.scalar_type()) return;
  throw std::invalid_argument(std::string(what) + ": the whole has " + std::to_string(whole.numel()) + " " +
                              c10::toString(whole.scalar_type()) + ", which is not " + std::to_string(ranks) +
                              " times the part's " + std::to_string(part.numel()) + " " +
                              c10::toString(part.scalar_type()));
}

/// NCCL connects with the first collective. That is done here, so that what goes wrong is told as a fault of
/// the set-up and takes no longer than that may. The device is not bound to the group: c10d would connect
/// beside this thread then (nonblocking, so that nothing is known when it returns), and refuse tensors on a
/// further GPU of the rank.
void connect_nccl(const c10::intrusive_ptr<c10d::Backend>& nccl, torch::Device device, milliseconds limit) {
  runtime::run_within(
      limit, "NCCL did not connect the ranks within " + seconds(limit) + " (torch_config.init_timeout_s)",
      [nccl, device] {
        const c10::DeviceGuard guard(device);
        nccl->eagerConnectSingleDevice(device);
        // The communicator alone opens no channels: shared memory and the network are tried by a collective.
        std::vector<torch::Tensor> one{torch::ones({1}, device)};
        nccl->allreduce(one)->wait();
        torch::cuda::synchronize(device.index());
      });
}

/// The destructor of a backend that failed would wait for NCCL, up to the time of a collective: it is not
/// run.
void leak(c10::intrusive_ptr<c10d::Backend> failed) { (void)failed.release(); }

c10::intrusive_ptr<RecordedGroup> make_group(const GroupOptions& options,
                                             const c10::intrusive_ptr<c10d::Store>& store) {
  using Type = c10d::ProcessGroup::BackendType;
  const BackendOptions backend{options.rank, options.world_size, options.node_address, options.timeout,
                               options.init_timeout};
  auto made = c10::make_intrusive<RecordedGroup>(store, options.rank, options.world_size);
  const auto gloo = make_gloo_backend(c10::make_intrusive<c10d::PrefixStore>("gloo", store), backend);
  made->setBackend(c10::DeviceType::CPU, Type::GLOO, gloo);
  // Ranks that share a GPU: NCCL takes one of them only.
  if (!options.nccl && options.device.is_cuda()) made->setBackend(c10::DeviceType::CUDA, Type::GLOO, gloo);
  if (options.nccl) {
    const auto nccl = make_nccl_backend(c10::make_intrusive<c10d::PrefixStore>("nccl", store), backend);
    made->setBackend(c10::DeviceType::CUDA, Type::NCCL, nccl);
    try {
      if (options.device.is_cuda()) connect_nccl(nccl, options.device, options.init_timeout);
    } catch (...) {
      leak(nccl);
      throw;
    }
  }
  made->setDefaultBackend(options.nccl ? Type::NCCL : Type::GLOO);
  made->setGroupName(options.name);
  return made;
}

}  // namespace

bool debugs_collectives() {
  static const bool debugs = [] {
    const char* own = std::getenv("RTRAIN_DEBUG_COLLECTIVES");
    const char* torchs = std::getenv("TORCH_DISTRIBUTED_DEBUG");
    return (own != nullptr && *own != '\0' && std::string(own) != "0") ||
           (torchs != nullptr && std::string(torchs) == "DETAIL");
  }();
  return debugs;
}

std::string cause_of(const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = c10_error != nullptr ? c10_error->what_without_backtrace() : error.what();
  if (text.starts_with('['))
    if (const auto end = text.find("] ");
        end != std::string::npos && text.substr(0, end).find(".cc:") != std::string::npos)
      text.erase(0, end + 2);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// One collective under way. `then` runs when it is done: the division of a mean.
class C10dCommunicator::Pending final : public Work::Pending {
 public:
  Pending(C10dCommunicator& group, const char* what, Ticket ticket, std::int64_t seq, Waiting waiting,
          c10::intrusive_ptr<c10d::Work> work, std::function<void()> then)
      : group_(group),
        what_(what),
        ticket_(ticket),
        seq_(seq),
        waiting_(waiting),
        work_(std::move(work)),
        then_(std::move(then)) {}
  /// Nobody has waited for it: a message that went out long ago would look like one under way.
  ~Pending() override {
    if (waited_) return;
    try {
      if (waiting_ == Waiting::kOnDevice)
        runtime::flight_recorder().queued(ticket_);
      else if (work_->isCompleted() && work_->isSuccess())
        runtime::flight_recorder().finish(ticket_);
      else if (work_->isCompleted())
        runtime::flight_recorder().failed(ticket_);
    } catch (...) {  // the work's own: whoever makes the next call meets it
    }
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  [[nodiscard]] bool is_done() const override { return work_->isCompleted(); }
  void wait(std::optional<milliseconds> limit) override {
    waited_ = true;
    auto& recorder = runtime::flight_recorder();
    try {
      const auto waiting = group_.noted(what_, seq_);
      recorder.wait(ticket_);
      group_.finish(*work_, waiting_, what_, ticket_, seq_, limit.value_or(group_.options_.timeout));
      if (waiting_ == Waiting::kOnDevice)
        recorder.queued(ticket_);
      else
        recorder.finish(ticket_);
      if (then_) then_();
    } catch (const c10::AcceleratorError&) {
      recorder.failed(ticket_);
      throw;  // a kernel's from before, which this call only met: its code tells whose fault it is
    } catch (const std::exception& error) {
      recorder.failed(ticket_);
      group_.fail(what_, error);
    }
  }

 private:
  C10dCommunicator& group_;
  const char* what_;
  Ticket ticket_;
  std::int64_t seq_;
  Waiting waiting_;
  c10::intrusive_ptr<c10d::Work> work_;
  std::function<void()> then_;
  bool waited_ = false;
};

C10dCommunicator::C10dCommunicator(GroupOptions options, c10::intrusive_ptr<c10d::Store> store, int number,
                                   runtime::Pulse& pulse, runtime::KeyValueStore* roll_call)
    : options_(std::move(options)),
      store_(c10::make_intrusive<c10d::PrefixStore>("group/" + std::to_string(number), std::move(store))),
      pulse_(pulse),
      roll_call_(roll_call),
      group_(make_group(options_, store_)) {
  recorded_as_ = runtime::flight_recorder().add_group(options_.path, options_.name, ranks_of(options_));
  group_->record_with([this](const runtime::FlightCall& flight) {
    const auto ticket = begin(flight);
    try {
      if (debugs_collectives()) compare(ticket, flight);
    } catch (...) {
      runtime::flight_recorder().failed(ticket);
      throw;
    }
    return ticket;
  });
}

/// Whoever holds the group may call it later, c10d's Reducer for one: those calls are not recorded any more.
C10dCommunicator::~C10dCommunicator() { group_->record_with({}); }

c10d::ProcessGroup* C10dCommunicator::c10d_group() const { return group_.get(); }

void C10dCommunicator::shutdown() { group_->shutdown(); }

void C10dCommunicator::set_timeout(milliseconds timeout) {
  options_.timeout = timeout;
  limit_gloo(*group_->getBackend(c10::DeviceType::CPU), timeout);
  if (options_.nccl) group_->getBackend(c10::DeviceType::CUDA)->setTimeout(timeout);
}

void C10dCommunicator::fail(const char* what, const std::exception& error) const {
  const std::string of_group = roll_call_ != nullptr ? "" : " of the group \"" + options_.name + "\"";
  const auto cause = cause_of(error);
  throw std::runtime_error(std::string(what) + " on rank " + std::to_string(rank()) + " of " +
                           std::to_string(world_size()) + of_group + ": " + cause +
                           runtime::size_hint(cause));
}

/// Sub-groups differ from rank to rank: what they do is no step of the roll call.
std::optional<runtime::Pulse::InCollective> C10dCommunicator::noted(const char* what, std::int64_t seq) {
  using Noted = std::optional<runtime::Pulse::InCollective>;
  return roll_call_ != nullptr ? Noted(std::in_place, pulse_, what, seq) : Noted();
}

/// The work's own error if it has one. On the CPU the host waits anyway, and looks now and then whether the
/// others will ever come.
void C10dCommunicator::finish(c10d::Work& work, Waiting waiting, const char* what, Ticket ticket,
                              std::int64_t seq, milliseconds timeout) {
  if (waiting != Waiting::kInSlices) {
    work.wait(waiting == Waiting::kInOne ? timeout : kNoTimeout);
    return;
  }
  const bool came = wait_in_slices(work, timeout, kStallAfter, [&] {
    if (roll_call_ == nullptr) return;
    auto here = runtime::flight_recorder().signature(ticket);
    if (here.empty()) here = what;
    const auto absent = runtime::RollCall(*roll_call_, rank(), world_size()).absent(seq, here);
    if (!absent.empty())
      throw std::runtime_error("the ranks no longer make the same calls: " + absent + "; rank " +
                               std::to_string(rank()) + " is in " + here);
  });
  if (came) return;
  const auto late =
      roll_call_ == nullptr ? std::string() : runtime::RollCall(*roll_call_, rank(), world_size()).late(seq);
  throw std::runtime_error("the other ranks did not come within " + seconds(timeout) +
                           (late.empty() ? "" : ": " + late));
}

C10dCommunicator::Waiting C10dCommunicator::collective(const torch::Tensor& tensor) {
  return tensor.is_cpu() ? Waiting::kInSlices : Waiting::kOnDevice;
}

C10dCommunicator::Waiting C10dCommunicator::message(const torch::Tensor& tensor) const {
  return tensor.is_cpu() || !options_.nccl ? Waiting::kInOne : Waiting::kOnDevice;
}

bool C10dCommunicator::through_host(const torch::Tensor& tensor) const {
  return !tensor.is_cpu() && !options_.nccl;
}

C10dCommunicator::Ticket C10dCommunicator::begin(const runtime::FlightCall& flight) {
  return runtime::flight_recorder().begin(recorded_as_, flight);
}

/// By Gloo, which every group has: the ranks can meet in it whatever they are about to call.
void C10dCommunicator::compare(Ticket ticket, const runtime::FlightCall& flight) {
  constexpr std::int64_t kTextBytes = 256;
  auto text = runtime::flight_recorder().signature(ticket);
  text.resize(std::min<std::size_t>(text.size(), kTextBytes - 1));
  auto own = torch::zeros({kTextBytes}, torch::kUInt8);
  std::memcpy(own.data_ptr(), text.data(), text.size());
  auto all = torch::empty({world_size() * kTextBytes}, torch::kUInt8);
  const RecordedGroup::Quiet quiet;
  const auto work = group_->_allgather_base(all, own);
  finish(*work, Waiting::kInSlices, flight.purpose, ticket, flight.order, options_.timeout);
  std::vector<std::string> calls;
  for (int member = 0; member < world_size(); ++member)
    calls.emplace_back(static_cast<const char*>(all.data_ptr()) + member * kTextBytes);
  if (std::ranges::all_of(calls, [&](const std::string& call) { return call == text; })) return;
  throw std::runtime_error("the ranks do not make the same call: " +
                           runtime::grouped_by_value(calls, ranks_of(options_)));
}

/// Makes a call that `ticket` stands for. @param compares the ranks first hold against each other what they
/// call.
template <class Call>
void C10dCommunicator::attempt(const runtime::FlightCall& flight, Ticket ticket, bool compares, Call call) {
  try {
    const auto starting = noted(flight.purpose, flight.order);  // NCCL connects with the first collective
    if (compares) compare(ticket, flight);
    const RecordedGroup::Quiet quiet;
    call();
  } catch (const c10::AcceleratorError&) {
    runtime::flight_recorder().failed(ticket);
    throw;
  } catch (const std::exception& error) {
    runtime::flight_recorder().failed(ticket);
    fail(flight.purpose, error);
  }
}

template <class Call>
Work C10dCommunicator::start(runtime::FlightCall flight, Waiting waiting, Call call) {
  std::function<void()> then;
  c10::intrusive_ptr<c10d::Work> work;
  const char* const what = flight.purpose;
  const auto seq = roll_call_ != nullptr ? pulse_.next_seq() : 0;
  flight.order = seq;
  const bool is_message = flight.peer >= 0;
  const bool compares = debugs_collectives() && (!is_message || runtime::FlightParts::is_first());
  const auto joined =
      is_message ? runtime::FlightParts::join(runtime::flight_recorder(), recorded_as_, seq) : 0;
  const auto ticket = joined != 0 ? joined : begin(flight);
  attempt(flight, ticket, compares, [&] { work = call(then); });
  return Work(std::make_unique<Pending>(*this, what, ticket, seq, waiting, std::move(work), std::move(then)));
}

Work C10dCommunicator::start_all_reduce(torch::Tensor tensor, Op op, const char* what) {
  require_contiguous(what, tensor);
  auto flight = runtime::flight_of(FlightOperation::kAllReduce, what, tensor);
  flight.detail = op_name(op);
  return start(flight, collective(tensor), [&](std::function<void()>& then) {
    std::vector<torch::Tensor> tensors{tensor.detach()};
    c10d::AllreduceOptions options;
    options.reduceOp = reduce_op(op);
    if (op == Op::kMean)
      then = [sum = tensors[0], ranks = world_size()]() mutable {
        const torch::NoGradGuard no_grad;
        sum.div_(ranks);
      };
    return group_->allreduce(tensors, options);
  });
}

Work C10dCommunicator::start_broadcast(torch::Tensor tensor, int root, const char* what) {
  require_rank(what, "root", root);
  require_contiguous(what, tensor);
  auto flight = runtime::flight_of(FlightOperation::kBroadcast, what, tensor);
  flight.root = root;
  return start(flight, collective(tensor), [&](std::function<void()>&) {
    std::vector<torch::Tensor> tensors{tensor.detach()};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return group_->broadcast(tensors, options);
  });
}

Work C10dCommunicator::start_all_gather(torch::Tensor output, torch::Tensor input, const char* what) {
  require_parts(what, output, input, world_size());
  return start(runtime::flight_of(FlightOperation::kAllGather, what, input), collective(output),
               [&](std::function<void()>&) {
                 auto whole = output.detach().view(-1), part = input.detach().view(-1);
                 return group_->_allgather_base(whole, part);
               });
}

Work C10dCommunicator::start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op op,
                                            const char* what) {
  require_parts(what, input, output, world_size());
  auto flight = runtime::flight_of(FlightOperation::kReduceScatter, what, input);
  flight.detail = op_name(op);
  return start(flight, collective(output), [&](std::function<void()>& then) {
    auto part = output.detach().view(-1), whole = input.detach().view(-1);
    c10d::ReduceScatterOptions options;
    options.reduceOp = reduce_op(op);
    if (op == Op::kMean)
      then = [part, ranks = world_size()]() mutable {
        const torch::NoGradGuard no_grad;
        part.div_(ranks);
      };
    return group_->_reduce_scatter_base(part, whole, options);
  });
}

Work C10dCommunicator::start_send(torch::Tensor tensor, int to, int tag, const char* what) {
  require_rank(what, "the receiver", to);
  require_contiguous(what, tensor);
  auto flight = runtime::flight_of(FlightOperation::kSend, what, tensor);
  flight.peer = to;
  return start(flight, message(tensor), [&](std::function<void()>&) {
    std::vector<torch::Tensor> tensors{through_host(tensor) ? tensor.detach().cpu() : tensor.detach()};
    return group_->send(tensors, to, tag);
  });
}

Work C10dCommunicator::start_recv(torch::Tensor tensor, int from, int tag, const char* what) {
  require_rank(what, "the sender", from);
  require_contiguous(what, tensor);
  auto flight = runtime::flight_of(FlightOperation::kReceive, what, tensor);
  flight.peer = from;
  return start(flight, message(tensor), [&](std::function<void()>& then) {
    std::vector<torch::Tensor> tensors{tensor.detach()};
    if (through_host(tensor)) {
      tensors[0] = torch::empty(tensor.sizes(), tensor.options().device(torch::kCPU));
      then = [target = tensor.detach(), host = tensors[0]]() mutable {
        const torch::NoGradGuard no_grad;
        target.copy_(host);
      };
    }
    return group_->recv(tensors, from, tag);
  });
}

void C10dCommunicator::broadcast_all(const std::vector<torch::Tensor>& tensors, int root) {
  require_rank("broadcast", "root", root);
  if (tensors.empty()) return;
  const torch::NoGradGuard no_grad;
  constexpr const char* kWhat = "broadcast of parameters or buffers";
  const auto seq = roll_call_ != nullptr ? pulse_.next_seq() : 0;
  auto flight = runtime::flight_of(FlightOperation::kBroadcast, kWhat, tensors[0]);
  flight.root = root;
  flight.order = seq;
  std::vector<torch::Tensor> detached;
  flight.bytes = 0;
  for (const auto& tensor : tensors) {
    detached.push_back(tensor.detach());
    flight.bytes += static_cast<std::int64_t>(tensor.nbytes());
  }
  auto& recorder = runtime::flight_recorder();
  const auto ticket = begin(flight);
  attempt(flight, ticket, debugs_collectives(), [&] {
    recorder.wait(ticket);
    c10d::broadcast_coalesced(group_, detached, kBroadcastBytes, root);
    // NCCL's waits only order streams: the host is here before the device is.
    if (options_.nccl && !tensors[0].is_cpu())
      recorder.queued(ticket);
    else
      recorder.finish(ticket);
  });
}

void C10dCommunicator::barrier() {
  // On the CPU also with GPUs: the host waits, and no kernel is launched for it.
  runtime::FlightCall flight;
  flight.operation = FlightOperation::kBarrier;
  flight.purpose = "barrier";
  start(flight, Waiting::kInSlices, [&](std::function<void()>&) {
    c10d::BarrierOptions options;
    options.device = torch::Device(torch::kCPU);
    return group_->barrier(options);
  }).wait();
}

void C10dCommunicator::meet(const std::string& place) {
  if (roll_call_ == nullptr)
    throw std::logic_error("meet(): only the ranks of the whole job can meet, not those of the group \"" +
                           options_.name + "\"");
  const runtime::Pulse::InCollective waiting(pulse_, runtime::kMeeting);
  const auto deadline = steady_clock::now() + options_.timeout;
  auto pause = milliseconds(1);
  const auto elsewhere =
      runtime::RollCall(*roll_call_, rank(), world_size()).meet(pulse_.read().collective_seq, place, [&] {
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, milliseconds(100));
        return steady_clock::now() < deadline;
      });
  if (!elsewhere.empty())
    throw std::runtime_error("rank " + std::to_string(rank()) + " of " + std::to_string(world_size()) +
                             " is in " + place + ", but " + elsewhere +
                             ": every rank must make the same calls");
}

std::shared_ptr<Communicator> C10dCommunicator::subgroup(const std::vector<int>& ranks,
                                                         const std::string& name) {
  const int number = subgroups_++;
  GroupOptions options = options_;
  options.name = name;
  options.path += "/" + std::to_string(number);
  options.ranks.clear();
  const auto of_job = ranks_of(options_);
  options.world_size = static_cast<int>(ranks.size());
  options.rank = -1;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    require_rank("subgroup", "a member", ranks[i]);
    if (i > 0 && ranks[i] <= ranks[i - 1])
      throw std::invalid_argument("subgroup \"" + name + "\": its ranks must ascend, each once");
    if (ranks[i] == rank()) options.rank = static_cast<int>(i);
    options.ranks.push_back(of_job[static_cast<std::size_t>(ranks[i])]);
  }
  if (options.rank < 0) return nullptr;
  if (options.world_size == 1) return alone();
  try {
    return std::make_shared<C10dCommunicator>(std::move(options), store_, number, pulse_, nullptr);
  } catch (const std::exception& error) {
    throw std::runtime_error("rank " + std::to_string(rank()) + " of " + std::to_string(world_size()) +
                             " could not join the group \"" + name + "\": " + cause_of(error));
  }
}

}  // namespace rtrain::comm
