// A language model of a few thousand parameters, its data, and its cut into units.
#pragma once

#include "tests/support/small_transformer.h"

#include <rtrain/rtrain.h>

#include <memory>
#include <vector>

namespace rtrain::test {

/// Learns to tell the next of a few tokens, in float64.
struct Language : LightningModule {
  explicit Language(bool frozen_block = false) {
    if (frozen_block)
      for (auto& parameter : net->blocks[1]->parameters()) parameter.set_requires_grad(false);
    to(torch::kFloat64);
  }
  torch::Tensor loss_of(const Batch& batch) {
    return torch::cross_entropy_loss(net(batch.input).flatten(0, 1), batch.target.flatten());
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto loss = loss_of(batch);
    log("loss", loss, {.on_step = false, .on_epoch = true, .sync_dist = true});
    return loss;
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    log("val_loss", loss_of(batch), {.sync_dist = true});
    return {};
  }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(optim::split_decay(*this, 0.1), {.lr = 0.01});
    auto scheduler = lr::StepLR(adam, {.step_size = 1, .gamma = 0.5});
    return {{adam}, {scheduler}};
  }
  SmallTransformer net = register_module("net", SmallTransformer());
};

inline constexpr std::int64_t kSamples = 96;
inline std::shared_ptr<Dataset> samples() {
  torch::manual_seed(4);
  const std::vector<std::int64_t> shape{kSamples, SmallTransformerImpl::kLength};
  const auto x = torch::randint(SmallTransformerImpl::kTokens, shape, torch::kInt64);
  return data::TensorDataset(x, (x * 3 + 1) % SmallTransformerImpl::kTokens);
}

/// A unit a block.
inline FSDPOptions blocks(FSDPOptions options = {}) {
  options.auto_wrap_policy = wrap::modules<SmallBlockImpl>();
  return options;
}

}  // namespace rtrain::test
