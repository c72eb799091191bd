// Ranks as threads of a test: a Communicator without processes, sockets or LibTorch's backends.
#pragma once

#include <rtrain/communicator.h>

#include <torch/torch.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rtrain::test {

/// What the ranks of one group share. A collective is a round: each rank puts its tensor in, and takes the
/// result out when all are there.
class FakeGroup {
 public:
  explicit FakeGroup(int ranks) : ranks_(ranks) {}
  [[nodiscard]] int size() const { return ranks_; }

  void put(std::int64_t round, int rank, const std::string& what, torch::Tensor tensor) {
    const std::lock_guard lock(mutex_);
    auto& entry = rounds_[round];
    if (entry.tensors.empty()) entry.what = what;
    if (entry.what != what)
      entry.problem = "rank " + std::to_string(rank) + " is in " + what + ", others are in " + entry.what;
    entry.tensors[rank] = std::move(tensor);
    changed_.notify_all();
  }
  /// By rank.
  [[nodiscard]] std::map<int, torch::Tensor> take(std::int64_t round) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [&] {
      return static_cast<int>(rounds_[round].tensors.size()) == ranks_ || !rounds_[round].problem.empty();
    });
    if (!rounds_[round].problem.empty()) throw std::runtime_error(rounds_[round].problem);
    if (!came) throw std::runtime_error("the other ranks did not come");
    return rounds_[round].tensors;
  }
  void send(int from, int to, int tag, torch::Tensor tensor) {
    const std::lock_guard lock(mutex_);
    mail_[{from, to, tag}].push_back(std::move(tensor));
    changed_.notify_all();
  }
  [[nodiscard]] torch::Tensor receive(int from, int to, int tag) {
    std::unique_lock lock(mutex_);
    auto& box = mail_[{from, to, tag}];
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return !box.empty(); }))
      throw std::runtime_error("no message came");
    auto tensor = box.front();
    box.erase(box.begin());
    return tensor;
  }
  [[nodiscard]] std::shared_ptr<FakeGroup> part(int number, int ranks) {
    const std::lock_guard lock(mutex_);
    auto& part = parts_[number];
    if (!part) part = std::make_shared<FakeGroup>(ranks);
    return part;
  }

 private:
  struct Round {
    std::string what, problem;
    std::map<int, torch::Tensor> tensors;
  };
  int ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Round> rounds_;
  std::map<std::tuple<int, int, int>, std::vector<torch::Tensor>> mail_;
  std::map<int, std::shared_ptr<FakeGroup>> parts_;
};

class FakeCommunicator final : public Communicator {
 public:
  FakeCommunicator(std::shared_ptr<FakeGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return group_->size(); }

  void barrier() override {
    exchange("barrier", torch::zeros({}), [](const auto&) {}).wait();
  }
  void meet(const std::string& place) override {
    exchange(place, torch::zeros({}), [](const auto&) {}).wait();
  }
  Work start_all_reduce(torch::Tensor tensor, Op op, const char* what) override {
    return exchange(what, tensor, [=](const std::map<int, torch::Tensor>& all) {
      torch::Tensor(tensor).detach().copy_(reduced(all, op));
    });
  }
  Work start_broadcast(torch::Tensor tensor, int root, const char* what) override {
    require_rank(what, "root", root);
    return exchange(what, tensor, [=](const std::map<int, torch::Tensor>& all) {
      torch::Tensor(tensor).detach().copy_(all.at(root));
    });
  }
  Work start_all_gather(torch::Tensor output, torch::Tensor input, const char* what) override {
    return exchange(what, input, [=](const std::map<int, torch::Tensor>& all) {
      std::vector<torch::Tensor> parts;
      for (const auto& [rank, part] : all) parts.push_back(part.reshape(-1));
      torch::Tensor(output).view(-1).copy_(torch::cat(parts));
    });
  }
  Work start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op op, const char* what) override {
    return exchange(what, input, [=, this](const std::map<int, torch::Tensor>& all) {
      torch::Tensor(output).view(-1).copy_(
          reduced(all, op).view(-1).narrow(0, rank_ * output.numel(), output.numel()));
    });
  }
  Work start_send(torch::Tensor tensor, int to, int tag, const char*) override {
    group_->send(rank_, to, tag, tensor.detach().clone());
    return {};
  }
  Work start_recv(torch::Tensor tensor, int from, int tag, const char*) override {
    return Work(std::make_unique<Later>(
        [=, this] { torch::Tensor(tensor).detach().copy_(group_->receive(from, rank_, tag)); }));
  }
  std::shared_ptr<Communicator> subgroup(const std::vector<int>& ranks, const std::string&) override {
    auto part = group_->part(parts_++, static_cast<int>(ranks.size()));
    for (std::size_t i = 0; i < ranks.size(); ++i)
      if (ranks[i] == rank_) return std::make_shared<FakeCommunicator>(part, static_cast<int>(i));
    return nullptr;
  }
  void set_timeout(std::chrono::milliseconds) override {}

 private:
  class Later final : public Work::Pending {
   public:
    explicit Later(std::function<void()> finish) : finish_(std::move(finish)) {}
    [[nodiscard]] bool is_done() const override { return false; }
    void wait(std::optional<std::chrono::milliseconds>) override {
      const torch::NoGradGuard no_grad;
      finish_();
    }

   private:
    std::function<void()> finish_;
  };
  Work exchange(const std::string& what, const torch::Tensor& tensor,
                std::function<void(const std::map<int, torch::Tensor>&)> use) {
    const auto round = round_++;
    group_->put(round, rank_, what, tensor.detach().clone());
    return Work(std::make_unique<Later>([=, this] { use(group_->take(round)); }));
  }
  static torch::Tensor reduced(const std::map<int, torch::Tensor>& all, Op op) {
    torch::Tensor result;
    for (const auto& [rank, tensor] : all) {
      if (!result.defined())
        result = tensor.clone();
      else if (op == Op::kMin)
        result = torch::min(result, tensor);
      else if (op == Op::kMax)
        result = torch::max(result, tensor);
      else
        result += tensor;
    }
    return op == Op::kMean ? result / static_cast<double>(all.size()) : result;
  }

  std::shared_ptr<FakeGroup> group_;
  int rank_;
  std::int64_t round_ = 0;
  int parts_ = 0;
};

/// Runs `body` on a thread a rank. The first exception of a rank leaves it, with the rank in front.
inline void run_fake_ranks(int ranks, const std::function<void(std::shared_ptr<Communicator>)>& body) {
  const auto group = std::make_shared<FakeGroup>(ranks);
  std::vector<std::thread> threads;
  std::vector<std::string> failed(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(std::make_shared<FakeCommunicator>(group, rank));
      } catch (const std::exception& error) {
        failed[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  for (int rank = 0; rank < ranks; ++rank)
    if (const auto& text = failed[static_cast<std::size_t>(rank)]; !text.empty())
      throw std::runtime_error("rank " + std::to_string(rank) + ": " + text);
}

}  // namespace rtrain::test
