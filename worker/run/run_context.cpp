#include "worker/run/run_context.h"

#include "worker/run/overridden.h"

#include <rtrain/context.h>
#include <rtrain/data/data_module.h>

#include <torch/torch.h>

#include <iostream>
#include <type_traits>

namespace rtrain {

void warn(const std::string& text) {
  if (get_context().get_world_rank() == 0) std::cerr << "rtrain: warning: " << text << std::endl;
}

namespace {

std::vector<std::shared_ptr<Logger>> loggers_of(const TrainerOptions& options, const Placement& at) {
  std::vector<std::shared_ptr<Logger>> all;
  if (at.global_rank != 0) return all;
  for (const auto& logger : options.loggers) all.push_back(logger.get());
  return all;
}

}  // namespace

RunContext::RunContext(Trainer& of, TrainerOptions given, Placement at,
                       std::vector<std::shared_ptr<Callback>> arranged)
    : trainer(of),
      options(std::move(given)),
      placement(std::move(at)),
      callbacks(std::move(arranged)),
      loggers(loggers_of(options, placement)),
      metrics(*placement.strategy, loggers, options.log_every_n_steps),
      pulse(runtime::pulse()),
      yield_point(runtime::yield_point()),
      profile_point(runtime::profile_point()) {}

std::string RunContext::place_of(Hook hook) const {
  const auto& facts = facts_of(hook);
  std::string text = facts.name;
  if (stage == Stage::kSanityCheck)
    text += ", sanity check";
  else if (function == Stage::kFit && facts.period != HookPeriod::kRun)
    text += ", epoch " + std::to_string(epochs.current.completed);
  if (facts.period == HookPeriod::kBatch && dataloader_idx)
    text += ", loader " + std::to_string(*dataloader_idx);
  if (facts.period == HookPeriod::kBatch) text += ", batch " + std::to_string(batch_idx);
  return text + ", rank " + std::to_string(placement.global_rank);
}

Batch RunContext::to_device(Batch batch) {
  const HookScope scope(*this, Hook::kTransferBatch);
  return in_memory_format(profiler != nullptr ? profiled_to_device(std::move(batch))
                                              : after_transfer(transfer(before_transfer(std::move(batch)))));
}

Batch RunContext::arrived(BatchCopy& copy) {
  const HookScope scope(*this, Hook::kTransferBatch);
  return in_memory_format(copy.finish());
}

Batch RunContext::in_memory_format(Batch batch) const {
  if (options.channels_last)
    batch.for_each_tensor([](torch::Tensor& tensor) {
      if (tensor.dim() == 4 && tensor.is_floating_point())
        tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
    });
  return batch;
}

bool RunContext::transfer_is_plain() const {
  static const LightningModule plain_module;
  static const LightningDataModule plain_data;
  const auto plain = [](const auto& object, const auto& base) {
    using Base = std::remove_cvref_t<decltype(base)>;
    return !is_overridden<Base>(object, base, &Base::on_before_batch_transfer) &&
           !is_overridden<Base>(object, base, &Base::transfer_batch_to_device) &&
           !is_overridden<Base>(object, base, &Base::on_after_batch_transfer);
  };
  return profiler == nullptr && plain(*module, plain_module) && (data == nullptr || plain(*data, plain_data));
}

Batch RunContext::converted(Batch batch) const { return precision().convert_input(std::move(batch)); }

Batch RunContext::before_transfer(Batch batch) {
  batch = converted(std::move(batch));
  return data != nullptr ? data->on_before_batch_transfer(std::move(batch))
                         : module->on_before_batch_transfer(std::move(batch));
}
Batch RunContext::transfer(Batch batch) {
  return data != nullptr ? data->transfer_batch_to_device(std::move(batch), placement.device)
                         : module->transfer_batch_to_device(std::move(batch), placement.device);
}
Batch RunContext::after_transfer(Batch batch) {
  return data != nullptr ? data->on_after_batch_transfer(std::move(batch))
                         : module->on_after_batch_transfer(std::move(batch));
}

void RunContext::yield_if(bool stops_here) {
  if (!stops_here) return;
  // Before the first step, and outside of a fit, there is nothing that a restart would miss.
  if (function == Stage::kFit && stage != Stage::kSanityCheck)
    call_callbacks(Hook::kYield, &Callback::on_yield);
  throw Yielded();
}

void RunContext::attach_callbacks(LightningModule* to) const {
  for (const auto& callback : callbacks) callback->of_run_ = to;
}

bool RunContext::is_same_on_every_rank(std::int64_t value) const {
  auto bounds = torch::tensor({value, -value}, torch::TensorOptions(torch::kInt64).device(placement.device));
  strategy().reduce(bounds, Strategy::Reduce::kMax);
  return bounds[0].item<std::int64_t>() == -bounds[1].item<std::int64_t>();
}

Batch RunContext::batch_as(Batch batch, torch::ScalarType type) {
  batch.for_each_tensor([type](torch::Tensor& tensor) {
    if (tensor.is_floating_point()) tensor = tensor.to(type);
  });
  return batch;
}

}  // namespace rtrain
