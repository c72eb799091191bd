// Small models and folders for the tests of the trainer.
#pragma once

#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace rtrain::test {

/// A folder of its own, gone at the end.
class Folder {
 public:
  Folder() {
    auto name = (std::filesystem::temp_directory_path() / "rtrain-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// What is written to std::cerr while it lives.
class Heard {
 public:
  Heard() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~Heard() { std::cerr.rdbuf(before_); }
  Heard(const Heard&) = delete;
  Heard& operator=(const Heard&) = delete;
  [[nodiscard]] std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

/// Lightning's BoringModel: one linear layer, the loss is its mean squared output.
struct BoringModel : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(32, 2));
  torch::Tensor loss_of(const Batch& batch) {
    return torch::nn::functional::mse_loss(layer(batch.input), torch::ones({batch.size(), 2}));
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor test_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return layer(batch.input); }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
};

inline DataLoader boring_loader(std::int64_t samples = 64, std::int64_t batch_size = 1) {
  return {data::TensorDataset(torch::randn({samples, 32})), {.batch_size = batch_size, .num_workers = 0}};
}

/// Nothing but the loop: no checkpoints, no progress.
inline TrainerOptions quiet(TrainerOptions options) {
  bool writes = false;
  for (const auto& callback : options.callbacks)
    writes = writes || callback.get()->order() == CallbackOrder::kCheckpoint;
  if (!options.enable_checkpointing) options.enable_checkpointing = writes;
  options.enable_progress_bar = false;
  options.accelerator = "cpu";
  return options;
}

}  // namespace rtrain::test
