// Wrote this folder, built against the last rtrain with checkpoints of version 2 (0.1.0 at dd82192).
// Arguments: a folder to write into. A run of 8 steps saves after step 3, in the middle of its first epoch,
// and goes on; end.safetensors holds the parameters after step 8.
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <filesystem>

namespace {

/// Element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5.
torch::Tensor det(std::vector<std::int64_t> shape, std::int64_t salt) {
  auto values = torch::zeros(shape, torch::kDouble);
  auto* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    data[i] = static_cast<double>((i + salt) * 7919 % 1000) / 1000 - 0.5;
  return values;
}

struct Net : rtrain::LightningModule {
  torch::Tensor weight = register_parameter("weight", det({3, 2}, 2));
  torch::Tensor bias = register_parameter("bias", det({2}, 9));
  torch::Tensor training_step(const rtrain::Batch& batch, std::int64_t) override {
    return ((batch.input.unsqueeze(2) * weight).sum(1) + bias - batch.target).square().mean();
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::AdamW(parameters(), {.lr = 0.05, .weight_decay = 0.1, .amsgrad = true});
  }
};

}  // namespace

int main(int, char** arguments) {
  const std::filesystem::path folder = arguments[1];
  Net net;
  rtrain::Trainer trainer({.max_epochs = 2,
                           .accelerator = "cpu",
                           .callbacks = {rtrain::LambdaCallback(
                               {.on_train_batch_end =
                                    [&](rtrain::Trainer& t, rtrain::LightningModule&, const torch::Tensor&,
                                        const rtrain::Batch&, std::int64_t) {
                                      if (t.global_step() == 3) t.save_checkpoint(folder / "step3");
                                    }})},
                           .enable_checkpointing = false,
                           .enable_progress_bar = false,
                           .seed = 5});
  trainer.fit(net, rtrain::DataLoader(rtrain::data::TensorDataset(det({8, 3}, 1), det({8, 2}, 3)),
                                      {.batch_size = 2, .shuffle = true, .seed = 3}));
  rtrain::save_safetensors(folder / "end.safetensors",
                           {{{"weight", net.weight.detach()}, {"bias", net.bias.detach()}}, {}});
}
