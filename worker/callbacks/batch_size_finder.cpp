#include <rtrain/callbacks/batch_size_finder.h>

#include "worker/runtime/problems.h"

#include <rtrain/data/data_module.h>
#include <rtrain/trainer.h>

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace rtrain {
namespace {

void give_memory_back(torch::Device device) {
  if (device.is_cpu()) return;
  if (auto* const allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type())))
    allocator->emptyCache();
}

}  // namespace

std::int64_t largest_batch_size(const BatchSizeFinderOptions& options,
                                const std::function<bool(std::int64_t)>& fits) {
  std::int64_t best = 0, too_large = options.max_val + 1, size = std::min(options.init_val, options.max_val);
  for (std::int64_t trial = 0; trial < options.max_trials; ++trial) {
    if (fits(size))
      best = size;
    else
      too_large = size;
    const bool searches = best > 0 && too_large <= options.max_val;
    if (searches && options.mode == "power") break;
    if (too_large - best <= 1) break;
    size = searches ? (best + too_large) / 2 : best > 0 ? std::min(best * 2, options.max_val) : size / 2;
  }
  if (best == 0 || options.mode == "power") return best;
  return std::max<std::int64_t>(1,
                                static_cast<std::int64_t>(static_cast<double>(best) * (1 - options.margin)));
}

BatchSizeFinder::BatchSizeFinder(BatchSizeFinderOptions options) : options_(std::move(options)) {
  const auto& o = options_;
  Problems problems;
  problems.expect(o.mode == "power" || o.mode == "binsearch", "mode", "\"" + o.mode + "\"",
                  "\"power\" or \"binsearch\"");
  problems.expect(o.steps_per_trial >= 1, "steps_per_trial", std::to_string(o.steps_per_trial), "1 or more");
  problems.expect(o.init_val >= 1, "init_val", std::to_string(o.init_val), "1 or more");
  problems.expect(o.max_trials >= 1, "max_trials", std::to_string(o.max_trials), "1 or more");
  problems.expect(o.margin >= 0 && o.margin < 1, "margin", std::to_string(o.margin),
                  "a number from 0 up to 1");
  problems.expect(o.max_val >= o.init_val, "max_val", std::to_string(o.max_val), "init_val or more");
  problems.throw_if_any_option("BatchSizeFinder");
}

void BatchSizeFinder::on_fit_start(Trainer& trainer, LightningModule& module) {
  if (trainer.options().fast_dev_run > 0 || !trainer.resumed_from().empty()) return;
  if (trainer.world_size() > 1)
    throw std::invalid_argument("BatchSizeFinder: the job has " + std::to_string(trainer.world_size()) +
                                " ranks, and each would find a size of its own: find it with one rank");
  auto* const data = trainer.datamodule();
  const auto set = [&](std::int64_t size) {
    if (!(data != nullptr && data->set_batch_size(size)) && !module.set_batch_size(size))
      throw std::invalid_argument(
          "BatchSizeFinder: neither the data module nor the module has a batch size to set: override "
          "set_batch_size()");
    if (!trainer.reload_train_dataloader())
      throw std::invalid_argument(
          "BatchSizeFinder: the loaders were passed to fit(), so their batch size is what it is: give them "
          "by "
          "train_dataloader()");
  };
  optimal_ = largest_batch_size(options_, [&](std::int64_t size) {
    set(size);
    try {
      trainer.try_training(options_.steps_per_trial, {}, {});
      give_memory_back(trainer.device());
      return true;
    } catch (const c10::OutOfMemoryError&) {
      give_memory_back(trainer.device());
      return false;
    }
  });
  if (optimal_ == 0) throw std::runtime_error("BatchSizeFinder: not even a batch of 1 fits into memory");
  set(optimal_);
  module.print("BatchSizeFinder: the fit goes on with batches of " + std::to_string(optimal_));
}

RTRAIN_REGISTER_OPTIONS(Callback, "BatchSizeFinder", BatchSizeFinder, BatchSizeFinderOptions, mode,
                        steps_per_trial, init_val, max_trials, margin, max_val);

}  // namespace rtrain
