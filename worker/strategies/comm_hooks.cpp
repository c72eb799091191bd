#include "worker/strategies/comm_hooks.h"

#include "worker/strategies/rank_groups.h"

#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <stdexcept>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

using Future = c10::ivalue::Future;

/// Brings a bucket to its hook in the hook's type, and what comes back into the bucket.
class BucketHook final : public c10d::CommHookInterface {
 public:
  BucketHook(HookRun& run, Communicator& ranks, std::optional<torch::ScalarType> cast)
      : run_(run), ranks_(ranks), cast_(cast) {}

  HookFuture runHook(c10d::GradBucket& bucket) override {
    const torch::NoGradGuard no_grad;
    const auto whole = bucket.getBuffer();
    // The values of the ranks belong to different rows.
    if (whole.layout() != torch::kStrided) return start_average(whole, ranks_);
    if (!cast_ || whole.scalar_type() == *cast_) return run_.reduce(bucket);
    auto narrow = whole.to(*cast_);
    bucket.setBuffer(narrow);
    return run_.reduce(bucket)->then(
        [whole](Future& reduced) {
          const torch::NoGradGuard without_grad;
          whole.copy_(c10d::detail::parseCppCommHookResult(reduced.value()));
          return c10::IValue(whole);
        },
        c10::TensorType::get());
  }
  torch::Tensor parseHookResult(const c10::IValue& result) override {
    return c10d::detail::parseCppCommHookResult(result);
  }

 private:
  HookRun& run_;
  Communicator& ranks_;
  std::optional<torch::ScalarType> cast_;
};

class AllReduceRun final : public HookRun {
 public:
  explicit AllReduceRun(Communicator& ranks) : ranks_(ranks) {}
  HookFuture reduce(c10d::GradBucket& bucket) override { return start_average(bucket.getBuffer(), ranks_); }

 private:
  Communicator& ranks_;
};

class LocalSGDRun final : public HookRun {
 public:
  LocalSGDRun(const comm_hooks::PostLocalSGDOptions& options, const HookPlace& place)
      : options_(options), ranks_(place.ranks) {
    if (!options_.post_local_gradient_allreduce) return;
    const int world = ranks_.world_size(), size = options_.subgroup_size;
    if (size > 0 && world % size != 0)
      throw std::invalid_argument("comm_hooks::post_localSGD: subgroup_size is " + std::to_string(size) +
                                  ", expected a divisor of the " + std::to_string(world) + " ranks");
    subgroup_ = size > 0 ? neighbours(ranks_, size, "post_localSGD")
                         : ranks_of_node(ranks_, place.device, "post_localSGD");
  }

  HookFuture reduce(c10d::GradBucket& bucket) override {
    const bool global = iterations_ < options_.start_localSGD_iter;
    differ_ = !global && (subgroup_ == nullptr || subgroup_->world_size() < ranks_.world_size());
    if (global) {
      if (bucket.isLast()) ++iterations_;
      return start_average(bucket.getBuffer(), ranks_);
    }
    return subgroup_ == nullptr ? completed(bucket.getBuffer())
                                : start_average(bucket.getBuffer(), *subgroup_);
  }
  [[nodiscard]] bool gradients_differ() const override { return differ_; }
  [[nodiscard]] nlohmann::json save(PlanState&) const override { return {{"iterations", iterations_}}; }
  void load(const nlohmann::json& saved, const PlanState&) override {
    iterations_ = saved.is_null() ? 0 : saved.value("iterations", std::int64_t{0});
    differ_ = false;
  }

 private:
  comm_hooks::PostLocalSGDOptions options_;
  Communicator& ranks_;
  std::shared_ptr<Communicator> subgroup_;  ///< null: each rank for itself
  std::int64_t iterations_ = 0;             ///< backwards with a sum over all ranks
  bool differ_ = false;
};

class AllReduceRecipe final : public CommHook::Recipe {
 public:
  explicit AllReduceRecipe(std::string name, std::optional<torch::ScalarType> cast = std::nullopt)
      : name_(std::move(name)), cast_(cast) {}
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::optional<torch::ScalarType> cast() const override { return cast_; }
  [[nodiscard]] std::unique_ptr<HookRun> start(const HookPlace& place) const override {
    return std::make_unique<AllReduceRun>(place.ranks);
  }

 private:
  std::string name_;
  std::optional<torch::ScalarType> cast_;
};

class LocalSGDRecipe final : public CommHook::Recipe {
 public:
  explicit LocalSGDRecipe(const comm_hooks::PostLocalSGDOptions& options) : options_(options) {}
  [[nodiscard]] std::string name() const override { return "post_localSGD"; }
  [[nodiscard]] std::unique_ptr<HookRun> start(const HookPlace& place) const override {
    return std::make_unique<LocalSGDRun>(options_, place);
  }
  [[nodiscard]] const comm_hooks::PostLocalSGDOptions* local_sgd() const override { return &options_; }

 private:
  comm_hooks::PostLocalSGDOptions options_;
};

class WrapperRecipe final : public CommHook::Recipe {
 public:
  WrapperRecipe(std::string name, torch::ScalarType cast, const CommHook& hook)
      : name_(std::move(name)), cast_(cast), hook_(hook.recipe()) {
    if (hook_ == nullptr)
      throw std::invalid_argument("comm_hooks::" + name_ +
                                  ": there is no hook in it; comm_hooks::fp16_compress() and bf16_compress() "
                                  "compress the plain sum");
    if (hook_->cast())
      throw std::invalid_argument("comm_hooks::" + name_ + ": the hook " + hook_->name() +
                                  " in it casts itself: wrap the hook that it is made of");
  }
  [[nodiscard]] std::string name() const override { return name_ + "(" + hook_->name() + ")"; }
  [[nodiscard]] std::optional<torch::ScalarType> cast() const override { return cast_; }
  [[nodiscard]] std::unique_ptr<HookRun> start(const HookPlace& place) const override {
    return hook_->start(place);
  }
  [[nodiscard]] const comm_hooks::PostLocalSGDOptions* local_sgd() const override {
    return hook_->local_sgd();
  }

 private:
  std::string name_;
  torch::ScalarType cast_;
  std::shared_ptr<const CommHook::Recipe> hook_;
};

}  // namespace

HookFuture start_average(torch::Tensor tensor, Communicator& ranks) {
  const torch::NoGradGuard no_grad;
  auto* const group = ranks.c10d_group();
  if (group == nullptr) return completed(tensor);  // alone
  tensor.div_(ranks.world_size());
  std::vector<torch::Tensor> tensors{tensor};
  return group->allreduce(tensors)->getFuture();
}

HookFuture completed(const torch::Tensor& tensor) {
  auto future = c10::make_intrusive<Future>(
      c10::TensorType::get(),
      tensor.is_cuda() ? std::vector<c10::Device>{tensor.device()} : std::vector<c10::Device>{});
  future->markCompleted(c10::IValue(tensor));
  return future;
}

std::unique_ptr<c10d::CommHookInterface> hook_for_reducer(HookRun& run, Communicator& ranks,
                                                          std::optional<torch::ScalarType> cast) {
  return std::make_unique<BucketHook>(run, ranks, cast);
}

std::string CommHook::name() const { return recipe_ ? recipe_->name() : ""; }

namespace comm_hooks {

CommHook allreduce() { return CommHook(std::make_shared<AllReduceRecipe>("allreduce")); }
CommHook fp16_compress() {
  return CommHook(std::make_shared<AllReduceRecipe>("fp16_compress", torch::kHalf));
}
CommHook bf16_compress() {
  return CommHook(std::make_shared<AllReduceRecipe>("bf16_compress", torch::kBFloat16));
}

CommHook post_localSGD(PostLocalSGDOptions options) {
  std::string problems;
  if (options.start_localSGD_iter < 0)
    problems += "\n  start_localSGD_iter is " + std::to_string(options.start_localSGD_iter) +
                ", expected 0 or more; it must be given";
  if (options.subgroup_size < 0)
    problems += "\n  subgroup_size is " + std::to_string(options.subgroup_size) + ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("comm_hooks::post_localSGD: these options cannot be used:" + problems);
  return CommHook(std::make_shared<LocalSGDRecipe>(options));
}

CommHook fp16_compress_wrapper(const CommHook& hook) {
  return CommHook(std::make_shared<WrapperRecipe>("fp16_compress_wrapper", torch::kHalf, hook));
}
CommHook bf16_compress_wrapper(const CommHook& hook) {
  return CommHook(std::make_shared<WrapperRecipe>("bf16_compress_wrapper", torch::kBFloat16, hook));
}

}  // namespace comm_hooks
}  // namespace rtrain
