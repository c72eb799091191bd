#include <rtrain/memory_estimate.h>

#include "worker/sharding/wrap.h"

#include <rtrain/callbacks/lambda_callback.h>
#include <rtrain/context.h>
#include <rtrain/lightning_module.h>
#include <rtrain/trainer.h>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

std::int64_t bytes_of(const std::vector<torch::Tensor>& tensors) {
  std::int64_t bytes = 0;
  for (const auto& tensor : tensors)
    if (tensor.defined() && tensor.has_storage()) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::vector<torch::Tensor> gradients_of(const std::vector<torch::Tensor>& parameters) {
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : parameters) gradients.push_back(parameter.grad());
  return gradients;
}

/// Hears of what LibTorch allocates for this thread, as its profiler does.
class Counter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*data*/, std::int64_t bytes, std::size_t /*allocated*/,
                         std::size_t /*reserved*/, c10::Device /*device*/) override {
    live += bytes;
    highest = std::max(highest, live - gradients);
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }

  std::int64_t live = 0;
  std::int64_t gradients = 0;  ///< those of them that backward has made
  std::int64_t highest = 0;    ///< of what is no gradient
};

/// What two steps of the module allocate.
class Measurement {
 public:
  Measurement(LightningModule& module, MemoryEstimate& estimate) : module_(module), estimate_(estimate) {}
  ~Measurement() { forget_gradients(); }  // of a step that has failed
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  [[nodiscard]] LambdaFunctions hooks() {
    return {.on_train_epoch_start = [this](Trainer&, LightningModule&) { start_ = counter_->live; },
            .on_train_batch_start = [this](Trainer&, LightningModule&, const Batch&,
                                           std::int64_t batch) { batch == 0 ? begin() : after_first(); },
            .on_after_backward =
                [this](Trainer&, LightningModule&) {
                  if (!noted_.empty()) end_backward();
                }};
  }
  [[nodiscard]] const std::shared_ptr<Counter>& counter() const { return counter_; }
  [[nodiscard]] bool is_complete() const { return complete_; }

 private:
  void begin() {
    before_ = counter_->live;
    counter_->highest = counter_->live;
    for (const auto& parameter : module_.parameters())
      if (parameter.requires_grad())
        noted_.emplace_back(parameter, parameter.register_hook([counter = counter_](torch::Tensor gradient) {
          counter->gradients += bytes_of({gradient});
          return gradient;
        }));
  }

  void end_backward() {
    estimate_.activations = counter_->highest - start_;  // with the batch
    forget_gradients();
  }

  void forget_gradients() {
    for (const auto& [parameter, number] : noted_) parameter.remove_hook(number);
    noted_.clear();
  }

  /// The gradients of the first step are still there, and the state that it has made.
  void after_first() {
    estimate_.gradients = bytes_of(gradients_of(module_.parameters()));
    estimate_.optimizer_state = std::max<std::int64_t>(0, counter_->live - before_ - estimate_.gradients);
    complete_ = true;
  }

  LightningModule& module_;
  MemoryEstimate& estimate_;
  std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
  std::vector<std::pair<torch::Tensor, unsigned>> noted_{};
  std::int64_t start_ = 0, before_ = 0;  ///< live, without and with a batch
  bool complete_ = false;
};

/// The values of a module, to be put back.
class Values {
 public:
  explicit Values(LightningModule& module) : tensors_(module.parameters()) {
    const auto buffers = module.buffers();
    tensors_.insert(tensors_.end(), buffers.begin(), buffers.end());
    for (const auto& tensor : tensors_) kept_.push_back(tensor.detach().clone());
  }
  ~Values() {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      tensors_[i].set_data(kept_[i]);
      tensors_[i].mutable_grad() = torch::Tensor();
    }
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

 private:
  std::vector<torch::Tensor> tensors_, kept_;
};

/// The same batches, made by this thread, whose allocations are counted.
DataLoader counted(const DataLoader& loader) {
  auto options = loader.options();
  options.num_workers = 0;
  options.prefetch_factor.reset();
  options.timeout_s = 0;
  options.pin_memory = false;
  return loader.is_stream() ? DataLoader(loader.stream(), std::move(options))
                            : DataLoader(loader.dataset(), std::move(options));
}

/// Bounds that tests/integration/sharding_memory_test.cpp holds: units that are whole while others are
/// gathered ahead, and gradients on their way.
constexpr double kUnitsAtATime = 4.6;

struct Row {
  const char* strategy;
  bool (*is_for)(int num_ranks);
  void (*fill)(const MemoryEstimate& one, int n, bool accumulates, RankMemory& rank);
};

bool alone(int num_ranks) { return num_ranks == 1; }
bool together(int num_ranks) { return num_ranks > 1; }

std::int64_t part(std::int64_t bytes, int n) { return (bytes + n - 1) / n; }
std::int64_t units(const MemoryEstimate& one) {
  return static_cast<std::int64_t>(kUnitsAtATime * static_cast<double>(one.largest_unit));
}

constexpr std::array kRows{
    Row{"single_device", alone,
        [](const MemoryEstimate& one, int, bool, RankMemory& rank) {
          rank.gradients = one.gradients;
          rank.optimizer_state = one.optimizer_state;
        }},
    Row{"ddp", together,
        [](const MemoryEstimate& one, int, bool, RankMemory& rank) {
          rank.gradients = 2 * one.gradients;  // buckets are copies without gradient_as_bucket_view
          rank.optimizer_state = one.optimizer_state;
        }},
    Row{"deepspeed_stage_1", together,
        [](const MemoryEstimate& one, int n, bool accumulates, RankMemory& rank) {
          rank.gradients = accumulates ? one.gradients : part(one.gradients, n);
          rank.optimizer_state = part(one.optimizer_state, n);
          rank.gathered = part(one.parameters, n) + units(one);
        }},
    Row{"deepspeed_stage_2", together,
        [](const MemoryEstimate& one, int n, bool, RankMemory& rank) {
          rank.gradients = part(one.gradients, n);
          rank.optimizer_state = part(one.optimizer_state, n);
          rank.gathered = part(one.parameters, n) + units(one);
        }},
    Row{"fsdp", together,
        [](const MemoryEstimate& one, int n, bool, RankMemory& rank) {
          rank.parameters = part(one.parameters, n) + one.buffers;
          rank.gradients = part(one.gradients, n);
          rank.optimizer_state = part(one.optimizer_state, n);
          rank.gathered = units(one);
        }},
    Row{"fsdp_cpu_offload", together,
        [](const MemoryEstimate& one, int n, bool, RankMemory& rank) {
          rank.parameters = one.buffers;
          rank.gathered = units(one);
          rank.host = part(one.parameters + one.gradients + one.optimizer_state, n);
        }},
};

std::vector<RankMemory> ranks_of(const MemoryEstimate& one, const MemoryEstimateOptions& options) {
  std::vector<RankMemory> ranks;
  for (const int n : options.num_ranks)
    for (const auto& row : kRows) {
      if (!row.is_for(n)) continue;
      RankMemory rank{.strategy = row.strategy,
                      .num_ranks = n,
                      .parameters = one.parameters + one.buffers,
                      .activations = one.activations};
      row.fill(one, n, options.accumulate_grad_batches > 1, rank);
      ranks.push_back(std::move(rank));
    }
  return ranks;
}

}  // namespace

MemoryEstimate estimate_memory(LightningModule& module, const DataLoader& loader,
                               const MemoryEstimateOptions& options) {
  for (const int n : options.num_ranks)
    if (n < 1)
      throw std::invalid_argument("estimate_memory: num_ranks has " + std::to_string(n) + "; 1 or more");
  if (get_context().get_world_size() > 1)
    throw std::logic_error(
        "estimate_memory: the job has several ranks; one process estimates for all of them");
  MemoryEstimate estimate;
  const Values values(module);
  Measurement measurement(module, estimate);
  {
    const c10::DebugInfoGuard counting(c10::DebugInfoKind::PROFILER_STATE, measurement.counter());
    Trainer trainer({.max_epochs = 1,
                     .max_steps = 2,
                     .limit_val_batches = std::int64_t{0},
                     .num_sanity_val_steps = 0,
                     .precision = options.precision,
                     .accelerator = "cpu",
                     .strategy = "single_device",
                     .callbacks = {LambdaCallback(measurement.hooks())},
                     .enable_checkpointing = false,
                     .enable_progress_bar = false});
    trainer.fit(module, counted(loader));
  }
  if (!measurement.is_complete())
    throw std::invalid_argument("estimate_memory: two steps are measured, and the loader has fewer batches");
  estimate.parameters = bytes_of(module.parameters());
  estimate.buffers = bytes_of(module.buffers());
  for (const auto& unit : sharding::cut(module, options.auto_wrap_policy, {}).units) {
    std::vector<torch::Tensor> parameters;
    for (const auto& named : unit.parameters) parameters.push_back(named.tensor);
    estimate.largest_unit = std::max(estimate.largest_unit, bytes_of(parameters));
  }
  estimate.ranks = ranks_of(estimate, options);
  return estimate;
}

std::string MemoryEstimate::table() const {
  constexpr const char* kFormat = "%-18s %5s %11s %10s %10s %9s %12s %9s %9s\n";
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(), kFormat, "MiB of a rank", "ranks", "parameters", "gradients",
                "optimizer", "gathered", "activations", "total", "host");
  std::string text = line.data();
  const auto mib = [](std::int64_t bytes) {
    std::array<char, 24> number{};
    std::snprintf(number.data(), number.size(), "%.1f", static_cast<double>(bytes) / (1 << 20));
    return std::string(number.data());
  };
  for (const auto& rank : ranks) {
    std::snprintf(line.data(), line.size(), kFormat, rank.strategy.c_str(),
                  std::to_string(rank.num_ranks).c_str(), mib(rank.parameters).c_str(),
                  mib(rank.gradients).c_str(), mib(rank.optimizer_state).c_str(), mib(rank.gathered).c_str(),
                  mib(rank.activations).c_str(), mib(rank.total()).c_str(), mib(rank.host).c_str());
    text += line.data();
  }
  return text;
}

}  // namespace rtrain
