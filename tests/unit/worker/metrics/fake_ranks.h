// Ranks as threads that meet in each collective.
#pragma once

#include <rtrain/metrics/sync.h>

#include <torch/torch.h>

#include <barrier>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rtrain::test {

class FakeRanks {
 public:
  explicit FakeRanks(int world) : world_(static_cast<std::size_t>(world)), slots_(world_), barrier_(world) {}

  /// Runs `body` on each rank. @return what each threw, "" for nothing.
  std::vector<std::string> run(const std::function<void(int rank, MetricSync& sync)>& body) {
    std::vector<std::string> errors(world_);
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < world_; ++rank) {
      threads.emplace_back([&, rank] {
        Rank sync(*this, rank);
        try {
          body(static_cast<int>(rank), sync);
        } catch (const std::exception& error) {
          errors[rank] = error.what();
        }
      });
    }
    for (auto& thread : threads) thread.join();
    return errors;
  }

  /// Collectives of rank 0 so far: "all_reduce Long", "all_gather Double", ...
  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }

 private:
  class Rank : public MetricSync {
   public:
    Rank(FakeRanks& ranks, std::size_t rank) : ranks_(ranks), rank_(rank) {}
    void all_reduce(torch::Tensor& tensor, Op op) override {
      const auto stacked = torch::stack(exchange("all_reduce", tensor));
      tensor.copy_(op == Op::kSum ? stacked.sum(0) : op == Op::kMin ? stacked.amin(0) : stacked.amax(0));
    }
    std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor) override {
      return exchange("all_gather", tensor);
    }

   private:
    std::vector<torch::Tensor> exchange(const std::string& what, const torch::Tensor& tensor) {
      if (tensor.dim() != 1) throw std::logic_error(what + ": a buffer has one dimension");
      if (rank_ == 0) ranks_.calls_.push_back(what + " " + torch::toString(tensor.scalar_type()));
      ranks_.slots_[rank_] = tensor.clone();
      ranks_.barrier_.arrive_and_wait();
      auto all = ranks_.slots_;
      ranks_.barrier_.arrive_and_wait();
      for (const auto& other : all)
        if (other.sizes() != tensor.sizes() || other.scalar_type() != tensor.scalar_type())
          throw std::logic_error(what + ": the ranks' tensors differ in shape or type");
      return all;
    }
    FakeRanks& ranks_;
    std::size_t rank_;
  };

  std::size_t world_;
  std::vector<torch::Tensor> slots_;
  std::barrier<> barrier_;
  std::vector<std::string> calls_;
};

}  // namespace rtrain::test
