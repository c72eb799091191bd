// The job's group with one rank: NCCL on a GPU, Gloo where the test runs on the CPU. And what is said when
// the others do not come.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"
#include "tests/support/ranks.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#ifdef RTRAIN_WITH_NCCL
#include <ATen/cuda/Sleep.h>
#endif

#include <chrono>
#include <cstdio>

using namespace rtrain;
using namespace std::chrono_literals;
using rtrain::test::device;
using rtrain::test::on_cuda;

namespace {

comm::JobGroupOptions alone(int port, std::chrono::milliseconds timeout = 60s) {
  comm::JobGroupOptions options;
  options.backend = on_cuda() ? "nccl" : "gloo";
  options.master_addr = options.node_address = "127.0.0.1";
  options.master_port = port;
  options.timeout = timeout;
  options.init_timeout = 60s;
  options.device = device();
  options.alone_too = true;
  return options;
}

/// The group of a case, closed however the case ends.
class Joined {
 public:
  explicit Joined(const comm::JobGroupOptions& options) { sdk::join_group(options); }
  ~Joined() { sdk::leave_group(); }
  Joined(const Joined&) = delete;
  Joined& operator=(const Joined&) = delete;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("gpu: the collectives of a group of one", "[gpu][collectives]") {
  const test::HeldPort port;
  const Joined joined(alone(port.port()));
  const auto numbers = torch::arange(1000, torch::kFloat).to(device());
  using Op = Communicator::Op;
  for (const auto op : {Op::kSum, Op::kMean, Op::kMin, Op::kMax}) {
    auto tensor = numbers.clone();
    process_group().start_all_reduce(tensor, op).wait();
    CHECK(torch::equal(tensor, numbers));
  }
  // The start_ calls: the others do nothing in a group of one.
  auto& group = process_group();
  for (const auto type : {torch::kDouble, torch::kHalf, torch::kBFloat16, torch::kInt64}) {
    INFO(c10::toString(type));
    const auto tensor = torch::ones({17, 5}, torch::TensorOptions(type).device(device()));
    group.start_all_reduce(tensor).wait();
    CHECK(torch::equal(tensor, torch::ones_like(tensor)));
  }
  const auto sent = numbers.clone();
  group.start_broadcast(sent, 0).wait();
  CHECK(torch::equal(sent, numbers));
  const auto gathered = torch::zeros_like(numbers), part = torch::zeros_like(numbers);
  group.start_all_gather(gathered, numbers).wait();
  CHECK(torch::equal(gathered, numbers));
  group.start_reduce_scatter(part, numbers).wait();
  CHECK(torch::equal(part, numbers));
  group.barrier();
  const auto on_cpu = torch::ones({3});  // Gloo's, beside NCCL
  group.start_all_reduce(on_cpu).wait();
  CHECK(torch::equal(on_cpu, torch::ones({3})));
}

TEST_CASE("gpu: a collective that cannot be is refused in words", "[gpu][collectives]") {
  const test::HeldPort port;
  const Joined joined(alone(port.port()));
  // The group itself: what rtrain makes for a result has the right size always.
  auto input = torch::ones({4}, device()), too_small = torch::ones({3}, device());
  const auto size =
      error_of([&] { process_group().c10d_group()->_allgather_base(too_small, input)->wait(); });
  INFO(size);
  CHECK(size.find("size") != std::string::npos);
  const auto root = error_of([&] { process_group().broadcast(input, 3); });
  INFO(root);
  CHECK(root.find("root is 3") != std::string::npos);
}

TEST_CASE("gpu: who waits in vain for the others is told so in time", "[gpu][collectives]") {
  const test::HeldPort port;
  // Rank 0's store is there, and rank 0 never joins.
  c10d::TCPStoreOptions store;
  store.port = static_cast<std::uint16_t>(port.port());
  store.isServer = true;
  store.waitWorkers = false;
  const auto server = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", store);
  auto options = alone(port.port());
  options.rank = 1;
  options.world_size = 2;
  options.init_timeout = 2s;
  const auto begin = std::chrono::steady_clock::now();
  const auto text = error_of([&] { sdk::join_group(options); });
  INFO(text);
  CHECK(text.find("rank 1 of 2 could not join the process group (" + options.backend) == 0);
  CHECK(std::chrono::steady_clock::now() - begin < 30s);
  CHECK(sdk::group_store() == nullptr);
}

#ifdef RTRAIN_WITH_NCCL

/// NCCL's watchdog ends the process: this case runs in one of its own.
TEST_CASE("gpu: child: a collective behind a kernel that does not end", "[.child]") {
  const test::HeldPort port;
  sdk::join_group(alone(port.port(), 1s));
  const auto tensor = torch::ones({4}, device());
  process_group().start_all_reduce(tensor).wait();
  test::synchronize();
  at::cuda::sleep(std::int64_t{1} << 36);  // about half a minute of clock cycles
  process_group().start_all_reduce(tensor).wait();
  test::synchronize();
  std::puts("the collective came back");
}

TEST_CASE("gpu: NCCL gives a collective up when its time is over", "[gpu][collectives]") {
  if (!on_cuda()) {
    SUCCEED("NCCL needs a GPU");
    return;
  }
  // Without the watchdog's own dump, which waits longer than the time-out.
  const auto command = "TORCH_NCCL_DUMP_ON_TIMEOUT=0 timeout -k 1 25 '" +
                       std::filesystem::read_symlink("/proc/self/exe").string() + "' '[child]' 2>&1";
  std::string text;
  std::FILE* output = ::popen(command.c_str(), "r");
  REQUIRE(output != nullptr);
  char part[4096];
  while (const auto bytes = std::fread(part, 1, sizeof part, output)) text.append(part, bytes);
  CHECK(::pclose(output) != 0);
  INFO(text);
  CHECK(text.find("Timeout(ms)=1000") != std::string::npos);
  CHECK(text.find("the collective came back") == std::string::npos);
}

#endif
