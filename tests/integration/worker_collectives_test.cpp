// The process group between real processes over loopback: values, errors, and an end without hanging.
#include "worker/sdk/group.h"

#include "tests/support/catch.h"
#include "worker/runtime/key_value_store.h"

#include <rtrain/process_group.h>

#include <torch/torch.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <thread>

using namespace rtrain;
using namespace std::chrono_literals;

namespace {

/// A port as an agent reserves it: bound with SO_REUSEADDR, not listening.
class ReservedPort {
 public:
  ReservedPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port_ = ::ntohs(address.sin_port);
  }
  ~ReservedPort() { ::close(fd_); }
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;
  [[nodiscard]] int port() const { return port_; }

 private:
  int fd_, port_ = 0;
};

comm::JobGroupOptions options(int rank, int world, int port) {
  return {.rank = rank,
          .world_size = world,
          .master_addr = "127.0.0.1",
          .master_port = port,
          .node_address = "127.0.0.1",
          .timeout = 20s,
          .init_timeout = 20s};
}

void expect(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("does not hold: ") + what);
}

struct Ends {
  std::vector<int> codes;
  std::chrono::milliseconds took{};
};

/// Forks `world` ranks (before any thread of LibTorch runs here) and waits for them: 0 when `body` returned,
/// 1 when it threw.
Ends run_ranks(int world, const std::function<void(int rank, int port)>& body) {
  const ReservedPort reserved;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<pid_t> pids;
  for (int rank = 0; rank < world; ++rank) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::alarm(60);
      int code = 0;
      try {
        body(rank, reserved.port());
      } catch (const std::exception& error) {
        std::cerr << "rank " << rank << ": " << error.what() << std::endl;
        code = 1;
      }
      ::_exit(code);
    }
    pids.push_back(pid);
  }
  Ends ends;
  for (const pid_t pid : pids) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    ends.codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  ends.took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  return ends;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  throw std::runtime_error("nothing was thrown");
}

}  // namespace

TEST_CASE("collectives: values over three processes", "[integration]") {
  const auto ends = run_ranks(3, [](int rank, int port) {
    sdk::join_group(options(rank, 3, port));
    expect(process_group().rank() == rank && process_group().world_size() == 3, "rank and world");

    auto sum = torch::full({5}, rank + 1.0);
    process_group().all_reduce(sum);
    expect(sum.eq(6).all().item<bool>(), "sum");
    auto mean = torch::full({2, 2}, rank * 3.0, torch::kDouble);
    process_group().all_reduce(mean, Communicator::Op::kMean);
    expect(mean.eq(3).all().item<bool>(), "mean");
    auto most = torch::tensor({rank, -rank}), least = most.clone();
    process_group().all_reduce(most, Communicator::Op::kMax);
    process_group().all_reduce(least, Communicator::Op::kMin);
    expect(most.equal(torch::tensor({2, 0})) && least.equal(torch::tensor({0, -2})), "max and min");

    auto strided = torch::arange(12).reshape({3, 4}).t() * (rank == 1 ? 1 : 0);
    process_group().broadcast(strided, 1);
    expect(strided.equal(torch::arange(12).reshape({3, 4}).t()), "broadcast of a strided tensor");
    auto parameter = torch::full({4}, static_cast<float>(rank), torch::requires_grad());
    process_group().broadcast(parameter);
    expect(parameter.eq(0).all().item<bool>() && parameter.requires_grad(), "broadcast of a parameter");

    const auto all = process_group().all_gather(torch::tensor({rank, 10 * rank}));
    expect(all.size() == 3 && all[2].equal(torch::tensor({2, 20})), "all_gather");
    process_group().barrier();
    sdk::leave_group();
    expect(sdk::group_store() == nullptr, "shutdown");
  });
  CHECK(ends.codes == std::vector<int>{0, 0, 0});
}

TEST_CASE("collectives: work that was started, messages and parts of the group", "[integration]") {
  const auto ends = run_ranks(4, [](int rank, int port) {
    sdk::join_group(options(rank, 4, port));
    auto& ranks = process_group();

    auto sum = torch::full({3}, rank + 1.0), mean = torch::full({2}, 4.0 * rank);
    auto first = ranks.start_all_reduce(sum);
    auto second = ranks.start_all_reduce(mean, Communicator::Op::kMean);
    first.wait();
    second.wait();
    expect(sum.eq(10).all().item<bool>() && mean.eq(6).all().item<bool>(), "two at once");

    auto gathered = torch::zeros({4, 2});
    gathered[rank].fill_(rank + 1);
    ranks.start_all_gather(gathered, gathered[rank]).wait();
    expect(gathered.select(1, 1).equal(torch::tensor({1.0F, 2.0F, 3.0F, 4.0F})), "gather in place");
    auto part = torch::zeros({2});
    ranks.start_reduce_scatter(part, torch::arange(8.0).view({8}), Communicator::Op::kMean).wait();
    expect(part.equal(torch::arange(2.0) + 2.0 * rank), "reduce_scatter");
    expect(message_of([&] { (void)ranks.start_reduce_scatter(part, torch::zeros({7})); }) ==
               "reduce_scatter: the whole has 7 Float, which is not 4 times the part's 2 Float",
           "sizes that do not fit");
    expect(message_of([&] {
             (void)ranks.start_all_reduce(torch::zeros({2, 3}).t());
           }).find("not contiguous") != std::string::npos,
           "strided");

    auto left = torch::full({1000}, static_cast<double>(rank)), right = torch::zeros({1000});
    auto sent = ranks.start_send(left, (rank + 1) % 4, 3);
    ranks.start_recv(right, (rank + 3) % 4, 3).wait();
    sent.wait();
    expect(right.eq((rank + 3) % 4).all().item<bool>(), "a ring of messages");

    // Both pairs are made by all ranks; each has its own sums at the same time.
    const auto low = ranks.subgroup({0, 1}, "low"), high = ranks.subgroup({2, 3}, "high");
    expect((low != nullptr) == (rank < 2) && (high != nullptr) == (rank >= 2), "members");
    auto& mine = rank < 2 ? *low : *high;
    expect(mine.rank() == rank % 2 && mine.world_size() == 2, "places");
    auto pair = torch::full({2}, 1.0 + rank);
    for (int i = 0; i < 3; ++i) mine.all_reduce(pair);
    expect(pair.eq(4 * (rank < 2 ? 3 : 7)).all().item<bool>(), "sums of the pairs");
    ranks.barrier();
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0, 0, 0, 0});
}

TEST_CASE("collectives: the error of a part of the group names it", "[integration]") {
  const auto ends = run_ranks(3, [](int rank, int port) {
    sdk::join_group(options(rank, 3, port));
    const auto pair = process_group().subgroup({0, 2}, "shard");
    if (rank == 0) {
      pair->set_timeout(300ms);
      auto tensor = torch::ones({2});
      const auto message = message_of([&] { pair->all_reduce(tensor); });
      std::cerr << message << '\n';
      expect(message ==
                 "all_reduce on rank 0 of 2 of the group \"shard\": the other ranks did not come "
                 "within 0.3 s",
             "who waits where");
    } else {
      std::this_thread::sleep_for(1s);
    }
    ::_exit(0);  // the pair is out of step
  });
  CHECK(ends.codes == std::vector<int>{0, 0, 0});
}

TEST_CASE("collectives: set up and ended in a moment, whoever comes first", "[integration]") {
  const auto ends = run_ranks(2, [](int rank, int port) {
    if (rank == 0) std::this_thread::sleep_for(100ms);  // rank 1 knocks before the store is there
    const auto begin = std::chrono::steady_clock::now();
    sdk::join_group(options(rank, 2, port));
    const auto took = std::chrono::steady_clock::now() - begin;
    std::cerr << "rank " << rank << " joined within "
              << std::chrono::duration<double, std::milli>(took).count() << " ms\n";
    expect(took < 700ms, "no second of waiting for a retry");
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0, 0});
}

TEST_CASE("collectives: the store outlives rank 0's own work", "[integration]") {
  const auto ends = run_ranks(2, [](int rank, int port) {
    sdk::join_group(options(rank, 2, port));
    auto* store = sdk::group_store();
    if (rank == 1) {
      std::this_thread::sleep_for(300ms);
      store->set("late", "word");
      expect(store->get("late") == "word", "the store answers");
      expect(store->get("never") == std::nullopt, "a missing key does not wait");
      store->remove("late");
      expect(store->get("late") == std::nullopt, "removed");
    }
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0, 0});
}

TEST_CASE("collectives: a peer that dies is an error with its cause, at once", "[integration]") {
  const auto ends = run_ranks(2, [](int rank, int port) {
    std::signal(SIGPIPE, SIG_IGN);
    sdk::join_group(options(rank, 2, port));
    process_group().barrier();
    if (rank == 1) ::kill(::getpid(), SIGKILL);
    const auto message = message_of([] {
      auto tensor = torch::ones({1000});
      for (int i = 0; i < 3; ++i) process_group().all_reduce(tensor);
    });
    std::cerr << message << '\n';
    expect(message.find("all_reduce on rank 0 of 2: ") == 0, "the operation and the rank");
    expect(message.find("peer") != std::string::npos || message.find("Broken pipe") != std::string::npos,
           "the cause");
  });
  CHECK(ends.codes == std::vector<int>{0, 128 + SIGKILL});
  CHECK(ends.took < 5s);
}

TEST_CASE("collectives: rank 0 that never comes is told with its address and the limit", "[integration]") {
  const auto ends = run_ranks(1, [](int, int port) {
    auto late = options(1, 2, port);
    late.init_timeout = 300ms;
    const auto message = message_of([&] { sdk::join_group(late); });
    std::cerr << message << '\n';
    expect(message.find("rank 1 of 2 could not join the process group (gloo, 127.0.0.1:" +
                        std::to_string(port) + ")") == 0,
           "who and where");
    expect(message.find("init_timeout_s") != std::string::npos, "the way out");
  });
  CHECK(ends.codes == std::vector<int>{0});
}

TEST_CASE("collectives: in a world of 1 they do nothing and need no store", "[integration]") {
  const auto ends = run_ranks(1, [](int, int) {
    expect(message_of([] { (void)process_group(); }).find("init_process_group()") != std::string::npos,
           "before");
    sdk::join_group({});
    auto tensor = torch::ones({2});
    process_group().all_reduce(tensor);
    process_group().broadcast(tensor);
    process_group().barrier();
    expect(tensor.eq(1).all().item<bool>() && process_group().all_gather(tensor).size() == 1, "unchanged");
    expect(sdk::group_store() == nullptr, "no store");
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0});
}

namespace {

/// Two inputs, of which a pass may use one; a buffer.
struct TwoImpl : torch::nn::Module {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(3, 2));
  torch::nn::Linear b = register_module("b", torch::nn::Linear(3, 2));
  torch::Tensor frozen = register_parameter("frozen", torch::ones({2}), /*requires_grad=*/false);
  torch::Tensor seen = register_buffer("seen", torch::zeros({2}));
  TwoImpl() { to(torch::kFloat64); }
};
TORCH_MODULE(Two);

torch::Tensor input_of(int rank) {
  return torch::arange(12, torch::kFloat64).view({4, 3}).add(10.0 * rank).sin();
}

}  // namespace

TEST_CASE("prepare_model: a plain backward() ends with the average of the ranks' gradients",
          "[integration]") {
  const auto ends = run_ranks(3, [](int rank, int port) {
    sdk::join_group(options(rank, 3, port));
    torch::manual_seed(static_cast<std::uint64_t>(1 + rank));
    Two net;
    net->seen.fill_(rank);
    auto shared = prepare_model(*net);
    const auto weights = process_group().all_gather(net->a->weight.detach());
    expect(weights[1].equal(weights[0]) && weights[2].equal(weights[0]) && net->seen.eq(0).all().item<bool>(),
           "rank 0's parameters and buffers");

    const auto loss = [&](int of_rank) {
      return net->a(input_of(of_rank)).square().mean() +
             (of_rank == 1 ? net->b(input_of(1)).sum() : torch::zeros({}, torch::kFloat64));
    };
    const auto check = [&](double times, const char* what) {
      const auto a = net->a->weight.grad().clone(), b = net->b->weight.grad().clone();
      Two alone;
      alone->to(torch::kFloat64);
      {
        const torch::NoGradGuard no_grad;
        for (std::size_t i = 0; i < net->parameters().size(); ++i)
          alone->parameters()[i].copy_(net->parameters()[i]);
      }
      auto sum = (alone->a(input_of(0)).square().mean() + alone->a(input_of(1)).square().mean() +
                  alone->a(input_of(2)).square().mean() + alone->b(input_of(1)).sum()) /
                 3;
      sum.backward();
      expect((a - times * alone->a->weight.grad()).abs().max().item<double>() < 1e-12, what);
      // only rank 1 used it
      expect((b - times * alone->b->weight.grad()).abs().max().item<double>() < 1e-12, what);
    };
    loss(rank).backward();
    check(1, "one pass");
    expect(!net->frozen.grad().defined(), "a frozen parameter has no gradient");

    net->zero_grad();
    {
      const auto local = shared.no_sync();
      loss(rank).backward();
      expect(net->b->weight.grad().defined() == (rank == 1), "local under no_sync");
      loss(rank).backward();
    }
    loss(rank).backward();
    check(3, "accumulated");

    net->zero_grad();
    {
      const auto local = shared.no_sync();
      loss(rank).backward();
    }
    shared.sync();
    check(1, "sync() by hand");

    net->zero_grad();
    net->a(input_of(rank)).sum().backward();
    expect(!net->b->weight.grad().defined(), "a parameter that no rank used keeps no gradient");
    net->seen.fill_(rank + 5);
    shared.sync_buffers();
    expect(net->seen.eq(5).all().item<bool>(), "rank 0's buffers");

    { const auto gone = std::move(shared); }
    net->zero_grad();
    net->a(input_of(rank)).sum().backward();
    const auto grads = process_group().all_gather(net->a->weight.grad());
    expect(!grads[0].equal(grads[1]), "local again");
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0, 0, 0});
}

TEST_CASE("prepare_model: what cannot be shared is told with the parameter's name", "[integration]") {
  const auto ends = run_ranks(2, [](int rank, int port) {
    sdk::join_group(options(rank, 2, port));
    torch::nn::Linear different(3, rank + 1);
    expect(message_of([&] { (void)prepare_model(*different); }) ==
               "prepare_model: the ranks' models differ: rank 1 has parameter weight Float [2, 3], rank 0 "
               "has parameter weight Float [1, 3]",
           "models that differ");
    torch::nn::Embedding embedding(torch::nn::EmbeddingOptions(5, 2).sparse(true));
    const auto shared = prepare_model(*embedding);
    expect(message_of([&] {
             embedding(torch::tensor({1, 2})).sum().backward();
           }).find("the gradient of weight is sparse") != std::string::npos,
           "sparse");
    struct Forgot : torch::nn::Module {
      torch::nn::Linear layer{3, 1};
    } forgot;
    expect(message_of([&] { (void)prepare_model(forgot); }).find("register_module") != std::string::npos,
           "a layer that was not registered");
    auto tensor = torch::ones({2});
    expect(message_of([&] { process_group().broadcast(tensor, 2); }) ==
               "broadcast: root is 2, expected a rank from 0 to 1",
           "a root that is none");
    sdk::leave_group();
  });
  CHECK(ends.codes == std::vector<int>{0, 0});
}

TEST_CASE("prepare_model: with one rank nothing is shared, and without a group the way to one is told",
          "[integration]") {
  const auto ends = run_ranks(1, [](int, int) {
    expect(
        message_of([] { (void)process_group(); }).find("rtrain::init_process_group()") != std::string::npos,
        "before");
    const auto group = init_process_group();
    torch::nn::Linear net(3, 1);
    auto shared = prepare_model(*net);
    net(torch::ones({2, 3})).sum().backward();
    shared.sync();
    shared.sync_buffers();
    expect(net->weight.grad().eq(2).all().item<bool>() && group->world_size() == 1 &&
               group->all_gather(torch::ones({1})).size() == 1,
           "alone");
    expect(message_of([] { (void)init_process_group(); }).find("has joined its job's group already") !=
               std::string::npos,
           "twice");
  });
  CHECK(ends.codes == std::vector<int>{0});
}
