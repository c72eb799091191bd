// How much memory a rank needs under the strategies that shard, counted byte by byte.
#include "tests/support/ranks.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

/// Counts what LibTorch has of the CPU's memory.
class Counting final : public c10::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    if (bytes == 0) return {nullptr, c10::Device(c10::kCPU)};
    void* data = nullptr;
    if (::posix_memalign(&data, 64, bytes) != 0) throw std::bad_alloc();
    const auto now = live_ += static_cast<std::int64_t>(::malloc_usable_size(data));
    auto before = peak_.load();
    while (before < now && !peak_.compare_exchange_weak(before, now)) {
    }
    return {data, data, &give_back, c10::Device(c10::kCPU)};  // oneDNN wants the context to be the data
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  [[nodiscard]] static std::int64_t live() { return live_; }
  [[nodiscard]] static std::int64_t peak() { return peak_; }
  static void forget_peak() { peak_ = live_.load(); }

 private:
  static void give_back(void* data) {
    live_ -= static_cast<std::int64_t>(::malloc_usable_size(data));
    std::free(data);
  }
  inline static std::atomic<std::int64_t> live_{0}, peak_{0};
};

constexpr std::int64_t kWidth = 256;

struct LayerImpl : torch::nn::Module {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(kWidth, kWidth)),
                    b = register_module("b", torch::nn::Linear(kWidth, kWidth));
  torch::Tensor forward(const torch::Tensor& x) { return x + b(torch::tanh(a(x))); }
};
TORCH_MODULE(Layer);

struct Deep : LightningModule {
  torch::nn::ModuleList layers = register_module("layers", torch::nn::ModuleList());
  Deep() {
    for (int i = 0; i < 8; ++i) layers->push_back(Layer());
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto x = batch.input;
    for (const auto& layer : *layers) x = layer->as<Layer>()->forward(x);
    return x.square().mean();
  }
  Optimizers configure_optimizers() override { return optim::AdamW(parameters(), {.lr = 1e-4}); }
  /// Bytes of all parameters and of one unit.
  static constexpr double kUnit = 2.0 * (kWidth * kWidth + kWidth) * 4, kAll = 8 * kUnit;
};

struct Memory {
  double at_start = 0, peak = 0;  ///< above what there was before the fit; in bytes
};

Memory measure(int world, const std::function<AnyStrategy()>& strategy, bool born = false) {
  const Folder folder;
  const auto codes = run_ranks(world, [&](int rank) {
    static Counting counting;
    c10::SetCPUAllocator(&counting, 100);
    torch::manual_seed(1);
    const auto data = data::TensorDataset(torch::randn({32, kWidth}));
    const auto before = Counting::live();
    auto module = born ? born_sharded([] { return std::make_shared<Deep>(); }) : std::make_shared<Deep>();
    std::int64_t at_start = 0, born_peak = 0;
    TrainerOptions trainer_options{.max_steps = 4, .strategy = strategy()};
    trainer_options.callbacks.push_back(LambdaCallback({.on_train_start = [&](Trainer&, LightningModule&) {
      at_start = Counting::live();
      born_peak = Counting::peak();
      Counting::forget_peak();
    }}));
    Counting::forget_peak();
    {
      Trainer trainer(quiet(std::move(trainer_options)));
      trainer.fit(module, DataLoader(data, {.batch_size = 2}));
    }
    save_safetensors(
        folder / std::to_string(rank),
        {{{"start", torch::scalar_tensor((born ? born_peak : at_start) - before, torch::kFloat64)},
          {"peak", torch::scalar_tensor(Counting::peak() - before, torch::kFloat64)}},
         {}});
  });
  REQUIRE(codes == std::vector<int>(static_cast<std::size_t>(world), 0));
  Memory most;
  for (int rank = 0; rank < world; ++rank) {
    const auto own = load_safetensors(folder / std::to_string(rank)).tensors;
    most.at_start = std::max(most.at_start, own.at("start").item<double>());
    most.peak = std::max(most.peak, own.at("peak").item<double>());
  }
  return most;
}

std::function<AnyStrategy()> layers(FSDPOptions options = {}) {
  options.auto_wrap_policy = wrap::modules<LayerImpl>();
  return [options] { return FSDPStrategy(options); };
}

}  // namespace

TEST_CASE("sharding memory: parameters, gradients and state are divided by the ranks",
          "[integration][sharding]") {
  for (const int world : {2, 4}) {
    const auto small = measure(world, layers({.backward_prefetch = BackwardPrefetch::kNone}));
    const auto fast = measure(world, layers({.forward_prefetch = true}));
    const double parts = Deep::kAll / world;
    INFO(world << " ranks: start " << (small.at_start - parts) / Deep::kUnit << ", without prefetching "
               << (small.peak - 4 * parts) / Deep::kUnit << ", with it "
               << (fast.peak - 4 * parts) / Deep::kUnit << " units above");
    CHECK(small.at_start <= parts + 0.2 * Deep::kUnit);
    CHECK(small.peak <= 4 * parts + 2 * Deep::kUnit);
    CHECK(fast.peak <= 4 * parts + 4.6 * Deep::kUnit);
  }
}

TEST_CASE("sharding memory: no rank ever holds a model that is born sharded", "[integration][sharding]") {
  for (const int world : {2, 4}) {
    const auto born = measure(world, layers(), /*born=*/true);
    INFO(world << " ranks: " << (born.at_start - Deep::kAll / world) / Deep::kUnit << " units above");
    CHECK(born.at_start <= Deep::kAll / world + 1.5 * Deep::kUnit);
  }
}

TEST_CASE("sharding memory: the estimate of one process holds for ranks that train",
          "[integration][sharding]") {
  const auto estimate = [] {
    Deep module;
    const DataLoader loader(data::TensorDataset(torch::randn({32, kWidth})), {.batch_size = 2});
    return estimate_memory(module, loader,
                           {.num_ranks = {2, 4}, .auto_wrap_policy = wrap::modules<LayerImpl>()});
  }();
  CHECK(estimate.parameters == static_cast<std::int64_t>(Deep::kAll));
  CHECK(estimate.largest_unit == static_cast<std::int64_t>(Deep::kUnit));
  const auto zero = [](int stage) {
    return [stage]() -> AnyStrategy {
      return DeepSpeedStrategy({.stage = stage, .auto_wrap_policy = wrap::modules<LayerImpl>()});
    };
  };
  const std::map<std::string, std::function<AnyStrategy()>> strategies{
      {"ddp", []() -> AnyStrategy { return "ddp"; }},
      {"deepspeed_stage_1", zero(1)},
      {"deepspeed_stage_2", zero(2)},
      {"fsdp", layers()}};
  int compared = 0;
  for (const auto& rank : estimate.ranks) {
    const auto strategy = strategies.find(rank.strategy);
    if (strategy == strategies.end()) continue;
    ++compared;
    const auto measured = measure(rank.num_ranks, strategy->second).peak;
    INFO(rank.strategy << ", " << rank.num_ranks << " ranks: " << measured / Deep::kUnit
                       << " units, estimate " << static_cast<double>(rank.total()) / Deep::kUnit);
    CHECK(measured <= 1.02 * static_cast<double>(rank.total()));
    CHECK(measured >= 0.7 * static_cast<double>(rank.total()));
  }
  CHECK(compared == 8);
}
