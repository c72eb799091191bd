#include "worker/strategies/process_group.h"

#include "worker/runtime/key_value_store.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/roll_call.h"
#include "worker/strategies/process_group_backends.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace rtrain {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// c10d's store as the runtime wants it: get() never waits.
class JobStore : public runtime::KeyValueStore {
 public:
  explicit JobStore(c10::intrusive_ptr<c10d::Store> store) : store_(std::move(store)) {}
  void set(const std::string& key, const std::string& value) override {
    store_->set(key, std::vector<std::uint8_t>(value.begin(), value.end()));
  }
  /// One round trip and never a wait: c10d's get() would wait for a key that someone removes after check()
  /// saw it. A compareSet() that expects what nobody writes gives the value, or that back when there is none.
  std::optional<std::string> get(const std::string& key) override {
    static const std::vector<std::uint8_t> kNobodysWord{'\0', '?'};
    const auto value = store_->compareSet(key, kNobodysWord, kNobodysWord);
    if (value == kNobodysWord) return std::nullopt;
    return std::string(value.begin(), value.end());
  }
  void remove(const std::string& key) override { store_->deleteKey(key); }

 private:
  c10::intrusive_ptr<c10d::Store> store_;
};

constexpr milliseconds kStill{1000};  ///< a rank that has not moved for so long says where it is
constexpr milliseconds kLook{250};

/// Tells the other ranks where this one is when it has not moved for a while. It connects to the store when
/// that happens first.
class Lookout {
 public:
  using Connect = std::function<std::unique_ptr<runtime::KeyValueStore>()>;
  Lookout(int rank, int world_size, Connect connect)
      : rank_(rank), world_size_(world_size), connect_(std::move(connect)), thread_([this] { run(); }) {}
  ~Lookout() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void run() {
    std::unique_ptr<runtime::KeyValueStore> store;
    auto seen = runtime::pulse().read();
    auto since = steady_clock::now();
    bool said = false;
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kLook, [this] { return ends_; })) {
      const auto now = runtime::pulse().read();
      if (now.collective_seq != seen.collective_seq || now.in_collective != seen.in_collective ||
          now.last != seen.last) {
        seen = now;
        since = steady_clock::now();
        said = false;
      }
      if (said || steady_clock::now() - since < kStill) continue;
      said = true;
      using Kind = runtime::Whereabouts::Kind;
      try {
        if (!store) store = connect_();
        runtime::RollCall(*store, rank_, world_size_)
            .say({now.collective_seq, now.in_collective ? Kind::kWaits : Kind::kOutside, now.collective});
      } catch (const std::exception&) {
        store.reset();  // the store is gone, or slow: the next time it may be there
      }
    }
  }

  int rank_, world_size_;
  Connect connect_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;  // last: it uses the others
};

struct Group {
  int rank = 0, world_size = 1;
  bool cuda = false;
  milliseconds timeout{};
  c10::intrusive_ptr<c10d::Store> tcp_store;
  std::unique_ptr<JobStore> store;
  c10::intrusive_ptr<c10d::ProcessGroup> process_group;
  std::unique_ptr<Lookout> lookout;
  [[nodiscard]] bool is_alone() const { return !process_group; }
  [[nodiscard]] runtime::RollCall roll_call() const { return {*store, rank, world_size}; }
};

/// Never destroyed at exit: the threads of a backend must not be joined by a process that ends any way it
/// likes.
Group*& group() {
  static Group* the_group = nullptr;
  return the_group;
}

Group& joined() {
  if (group() == nullptr)
    throw std::logic_error("the process group is not set up: collectives work in a training function only");
  return *group();
}

/// What a library said, without its source place in front ("[pair.cc:525] Connection closed by peer" and C++
/// backtraces).
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

template <class Work>
void collective(const char* operation, Work work) {
  const runtime::Pulse::InCollective waiting(runtime::pulse(), operation);
  try {
    work();
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string(operation) + " on rank " + std::to_string(joined().rank) + " of " +
                             std::to_string(joined().world_size) + ": " + cause_of(error));
  }
}

std::string seconds(milliseconds duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(duration.count()) / 1000);
  return text;
}

/// The work's own error if it has one. On the CPU the host waits anyway, and looks now and then whether the
/// others will ever come.
void finish(c10d::Work& work, bool on_cpu, const char* operation) {
  if (!on_cpu) {
    work.wait();
    return;
  }
  const auto deadline = steady_clock::now() + joined().timeout;
  for (auto pause = kStill; !work.isCompleted(); pause = std::min(pause * 2, milliseconds(10'000))) {
    try {
      work.wait(pause);
      return;
    } catch (const std::exception&) {
      if (work.isCompleted()) throw;
    }
    if (const auto absent = joined().roll_call().absent(runtime::pulse().read().collective_seq, operation);
        !absent.empty())
      throw std::runtime_error("the ranks no longer make the same calls: " + absent);
    if (steady_clock::now() > deadline)
      throw std::runtime_error("the other ranks did not come within " + seconds(joined().timeout));
  }
  work.wait();
}

/// True when something accepts on host:port. c10d's own retry waits a second after a refusal; rank 0 is
/// mostly milliseconds away.
bool accepts(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval limit{2, 0};  // a connect that gets no answer at all
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const bool connected = ::connect(fd, address.ai_addr, address.ai_addrlen) == 0;
  ::close(fd);
  return connected;
}

void await_store(const std::string& host, int port, milliseconds timeout) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0)
    throw std::runtime_error("the address of rank 0, " + host +
                             ", is not known here: " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  const auto deadline = steady_clock::now() + timeout;
  for (auto pause = milliseconds(1); !accepts(*addresses); pause = std::min(pause * 2, milliseconds(20))) {
    if (steady_clock::now() > deadline)
      throw std::runtime_error("rank 0 did not open its store on " + host + ":" + std::to_string(port) +
                               " within " + seconds(timeout) + " (torch_config.init_timeout_s)");
    std::this_thread::sleep_for(pause);
  }
}

c10::intrusive_ptr<c10d::Store> open_store(const ProcessGroupOptions& options) {
  const bool server = options.rank == 0;
  if (!server) await_store(options.master_addr, options.master_port, options.init_timeout);
  c10d::TCPStoreOptions store;
  store.port = static_cast<std::uint16_t>(options.master_port);
  store.isServer = server;
  store.waitWorkers = false;  // Gloo's own connecting is the meeting point
  store.timeout = options.init_timeout;
  return c10::make_intrusive<c10d::TCPStore>(options.master_addr, store);
}

c10::intrusive_ptr<c10d::ProcessGroup> make_group(const ProcessGroupOptions& options,
                                                  const c10::intrusive_ptr<c10d::Store>& store) {
  using Type = c10d::ProcessGroup::BackendType;
  const BackendOptions backend{options.rank, options.world_size, options.node_address, options.timeout,
                               options.init_timeout};
  auto made = c10::make_intrusive<c10d::ProcessGroup>(store, options.rank, options.world_size);
  const auto gloo = make_gloo_backend(c10::make_intrusive<c10d::PrefixStore>("gloo", store), backend);
  made->setBackend(c10::DeviceType::CPU, Type::GLOO, gloo);
  const bool nccl = options.backend == "nccl";
  // Ranks that share a GPU: NCCL takes one of them only.
  if (!nccl && options.device.is_cuda()) made->setBackend(c10::DeviceType::CUDA, Type::GLOO, gloo);
  if (nccl)
    made->setBackend(c10::DeviceType::CUDA, Type::NCCL,
                     make_nccl_backend(c10::make_intrusive<c10d::PrefixStore>("nccl", store), backend));
  made->setDefaultBackend(nccl ? Type::NCCL : Type::GLOO);
  made->setGroupName("job");
  return made;
}

/// Gloo has no mean; NCCL has.
c10d::ReduceOp::RedOpType reduce_op(Collectives::Op op) {
  switch (op) {
    case Collectives::Op::kMin: return c10d::ReduceOp::MIN;
    case Collectives::Op::kMax: return c10d::ReduceOp::MAX;
    case Collectives::Op::kSum:
    case Collectives::Op::kMean: break;
  }
  return c10d::ReduceOp::SUM;
}

/// c10d takes contiguous tensors only; what it wrote goes back into a strided one.
template <class Run>
void on_contiguous(torch::Tensor& tensor, Run run) {
  const torch::NoGradGuard no_grad;
  torch::Tensor dense = tensor.detach().contiguous();
  std::vector<torch::Tensor> tensors{dense};
  run(tensors);
  if (dense.data_ptr() != tensor.data_ptr()) tensor.detach().copy_(dense);
}

}  // namespace

std::unique_ptr<runtime::KeyValueStore> connect_store(const std::string& host, int port,
                                                      milliseconds timeout) {
  await_store(host, port, timeout);
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.waitWorkers = false;
  options.timeout = std::max(timeout, milliseconds(1000));
  return std::make_unique<JobStore>(
      c10::make_intrusive<c10d::PrefixStore>("rtrain", c10::make_intrusive<c10d::TCPStore>(host, options)));
}

void Collectives::initialize(const ProcessGroupOptions& options) {
  if (group() != nullptr) throw std::logic_error("the process group is set up already");
  if (options.backend != "gloo" && options.backend != "nccl")
    throw std::invalid_argument("backend \"" + options.backend + "\": expected gloo or nccl");
  auto made = std::make_unique<Group>();
  made->rank = options.rank;
  made->world_size = options.world_size;
  made->cuda = options.device.is_cuda();
  made->timeout = options.timeout;
  if (options.world_size > 1 || options.alone_too) {
    try {
      made->tcp_store = open_store(options);
      made->store =
          std::make_unique<JobStore>(c10::make_intrusive<c10d::PrefixStore>("rtrain", made->tcp_store));
      made->process_group = make_group(options, made->tcp_store);
      made->lookout = std::make_unique<Lookout>(options.rank, options.world_size,
                                                [host = options.master_addr, port = options.master_port] {
                                                  return connect_store(host, port, milliseconds(5000));
                                                });
    } catch (const std::exception& error) {
      throw std::runtime_error("rank " + std::to_string(options.rank) + " of " +
                               std::to_string(options.world_size) + " could not join the process group (" +
                               options.backend + ", " + options.master_addr + ":" +
                               std::to_string(options.master_port) + "): " + cause_of(error));
    }
  }
  group() = made.release();
}

void Collectives::shutdown() {
  if (group() == nullptr) return;
  const std::unique_ptr<Group> mine(std::exchange(group(), nullptr));
  if (mine->is_alone()) return;
  const auto done_key = [](int rank) { return "done/" + std::to_string(rank); };
  mine->lookout.reset();
  try {
    const auto entered = runtime::pulse().read().collective_seq;
    auto roll_call = mine->roll_call();
    roll_call.say({entered, runtime::Whereabouts::Kind::kReturned, ""});
    if (mine->rank != 0) {
      mine->store->set(done_key(mine->rank), "");
    } else {
      // No limit of its own: a rank that still works may take as long as it likes; one that dies ends the
      // attempt, and one that waits for this rank waits in vain: it gets the error of a closed connection.
      bool missed = false;
      for (int rank = 1; rank < mine->world_size && !missed; ++rank)
        for (auto pause = milliseconds(1); !missed && !mine->store->get(done_key(rank));
             pause = std::min(pause * 2, milliseconds(50))) {
          std::this_thread::sleep_for(pause);
          missed = pause == milliseconds(50) && roll_call.is_missed(entered);
        }
    }
    mine->process_group->shutdown();
  } catch (const std::exception&) {
    // The others went first, and the store with them: there is nothing left to end.
  }
}

bool Collectives::initialized() { return group() != nullptr; }
int Collectives::rank() { return joined().rank; }
int Collectives::world_size() { return joined().world_size; }
runtime::KeyValueStore* Collectives::store() { return joined().store.get(); }

void Collectives::all_reduce(torch::Tensor& tensor, Op op) {
  if (joined().is_alone()) return;
  collective("all_reduce", [&] {
    on_contiguous(tensor, [&](std::vector<torch::Tensor>& tensors) {
      c10d::AllreduceOptions options;
      options.reduceOp = reduce_op(op);
      finish(*process_group()->allreduce(tensors, options), tensor.is_cpu(), "all_reduce");
      if (op == Op::kMean) tensors[0].div_(joined().world_size);
    });
  });
}

void Collectives::broadcast(torch::Tensor& tensor, int root) {
  if (joined().is_alone()) return;
  collective("broadcast", [&] {
    on_contiguous(tensor, [&](std::vector<torch::Tensor>& tensors) {
      c10d::BroadcastOptions options;
      options.rootRank = root;
      finish(*process_group()->broadcast(tensors, options), tensor.is_cpu(), "broadcast");
    });
  });
}

std::vector<torch::Tensor> Collectives::all_gather(const torch::Tensor& tensor) {
  if (joined().is_alone()) return {tensor.detach().clone()};
  std::vector<std::vector<torch::Tensor>> gathered(1);
  collective("all_gather", [&] {
    std::vector<torch::Tensor> input{tensor.detach().contiguous()};
    for (int rank = 0; rank < joined().world_size; ++rank) gathered[0].push_back(torch::empty_like(input[0]));
    finish(*process_group()->allgather(gathered, input), tensor.is_cpu(), "all_gather");
  });
  return gathered[0];
}

void Collectives::barrier() {
  if (joined().is_alone()) return;
  collective("barrier", [] {
    // On the CPU also with GPUs: the host waits, and no kernel is launched for it.
    c10d::BarrierOptions options;
    options.device = torch::Device(torch::kCPU);
    finish(*process_group()->barrier(options), true, "barrier");
  });
}

void Collectives::meet(const std::string& place) {
  if (joined().is_alone()) return;
  const runtime::Pulse::InCollective waiting(runtime::pulse(), runtime::kMeeting);
  const auto deadline = steady_clock::now() + joined().timeout;
  auto pause = milliseconds(1);
  const auto elsewhere = joined().roll_call().meet(runtime::pulse().read().collective_seq, place, [&] {
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, milliseconds(100));
    return steady_clock::now() < deadline;
  });
  if (!elsewhere.empty())
    throw std::runtime_error("rank " + std::to_string(joined().rank) + " of " +
                             std::to_string(joined().world_size) + " is in " + place + ", but " + elsewhere +
                             ": every rank must make the same calls");
}

const c10::intrusive_ptr<c10d::ProcessGroup>& Collectives::process_group() {
  if (!joined().process_group) throw std::logic_error("a world of 1 has no process group");
  return joined().process_group;
}

}  // namespace rtrain
