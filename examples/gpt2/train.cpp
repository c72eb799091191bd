// GPT-2 learns random tokens in mixed precision: how fast a step is, and a model of a size that people train.
#include <rtrain/rtrain.h>

#include <c10/core/CachingDeviceAllocator.h>
#include <torch/cuda.h>
#include <torch/nn/functional/loss.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

namespace {

class LanguageModel : public rtrain::LightningModule {
 public:
  LanguageModel(const rtrain::models::GPT2Options& sizes, double lr)
      : lr_(lr), model_(register_module("model", rtrain::models::GPT2(sizes))) {}

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto logits = model_(batch.input);
    auto loss =
        torch::nn::functional::cross_entropy(logits.view({-1, logits.size(2)}), batch.target.view({-1}));
    log("loss", loss, {.on_step = true, .prog_bar = true});
    return loss;
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::AdamW(parameters(), {.lr = lr_, .beta2 = 0.95, .weight_decay = 0.1});
  }

 private:
  double lr_;
  rtrain::models::GPT2 model_;
};

/// Counts from step `warm` on, in windows of `window` steps; reports the tokens a second of each.
class Speed : public rtrain::Callback {
 public:
  Speed(std::int64_t warm, std::int64_t window, std::int64_t tokens_a_step)
      : warm_(warm), window_(window), tokens_(tokens_a_step) {}

  void on_train_batch_end(rtrain::Trainer& trainer, rtrain::LightningModule&,
                          const rtrain::StepOutput& output, const rtrain::Batch&, std::int64_t) override {
    const auto done = trainer.global_step() - warm_;
    if (done < 0 || done % window_ != 0) return;
    if (trainer.device().is_cuda()) torch::cuda::synchronize();  // everything asked for so far is done
    const auto now = std::chrono::steady_clock::now();
    if (done > 0) {
      const std::chrono::duration<double> seconds = now - begin_;
      rates_.push_back(static_cast<double>(window_ * tokens_) / seconds.count());
    }
    if (trainer.global_step() == warm_ || done > 0) loss_ = output.loss.item<double>();
    begin_ = std::chrono::steady_clock::now();
  }
  void on_train_end(rtrain::Trainer& trainer, rtrain::LightningModule&) override {
    if (rates_.empty())
      throw std::runtime_error("steps: too few for a window after the first " + std::to_string(warm_));
    auto sorted = rates_;
    std::sort(sorted.begin(), sorted.end());
    nlohmann::json metrics{{"tokens_s_per_process", sorted[sorted.size() / 2]},
                           {"loss", loss_},
                           {"steps", trainer.global_step()}};
    if (const auto device = trainer.device(); device.is_cuda()) {
      const auto bytes =
          at::getDeviceAllocator(device.type())->getDeviceStats(device.index()).allocated_bytes[0].peak;
      metrics["peak_memory_gib"] = static_cast<double>(bytes) / (1 << 30);
    }
    rtrain::report(metrics);
  }

 private:
  std::int64_t warm_, window_, tokens_;
  double loss_ = 0;
  std::chrono::steady_clock::time_point begin_;
  std::vector<double> rates_;
};

}  // namespace

void train_func(const rtrain::Config& config) {
  const auto seed = config.value<std::uint64_t>("seed", 0);
  rtrain::seed_everything(seed);
  rtrain::models::GPT2Options sizes;
  sizes.vocab_size = config.value("vocabulary", sizes.vocab_size);
  sizes.n_positions = config.value("context", sizes.n_positions);
  sizes.n_layer = config.value("layers", sizes.n_layer);
  sizes.n_head = config.value("heads", sizes.n_head);
  sizes.n_embd = config.value("width", sizes.n_embd);
  sizes.dropout = config.value("dropout", 0.0);
  const auto batch_size = config.value<std::int64_t>("batch_size", 16);
  const auto steps = config.value<std::int64_t>("steps", 50),
             warm = config.value<std::int64_t>("warm_steps", 10);
  const auto window = config.value<std::int64_t>("window_steps", 20);

  // The next token is the target. They lie on the device: what is measured is the step, not the reading.
  const auto samples = batch_size * config.value<std::int64_t>("batches", 4);
  const auto ids = torch::randint(sizes.vocab_size, {samples, sizes.n_positions + 1}, torch::kLong)
                       .to(rtrain::get_device());
  const rtrain::DataLoader data(rtrain::data::TensorDataset(ids.narrow(1, 0, sizes.n_positions).contiguous(),
                                                            ids.narrow(1, 1, sizes.n_positions).contiguous()),
                                {.batch_size = batch_size, .drop_last = true, .num_workers = 0});

  auto precision = config.value("precision", "bf16-mixed");
  rtrain::AnyStrategy strategy = config.value("strategy", "ddp");
  if (config.value("strategy", "ddp") == "fsdp" && precision == "bf16-mixed") {
    // What is gathered is bfloat16 already: half the bytes, and no cast in each operator.
    precision = "32-true";
    strategy = rtrain::FSDPStrategy({.auto_wrap_policy = rtrain::wrap::children(),
                                     .mixed_precision = rtrain::ShardedMixedPrecision{
                                         .param_dtype = torch::kBFloat16, .reduce_dtype = torch::kFloat32}});
  }
  rtrain::Trainer trainer({.max_epochs = -1,
                           .max_steps = steps,
                           .precision = precision,
                           .cuda_graph = config.value("cuda_graph", false),
                           .strategy = strategy,
                           .plugins = {rtrain::ClusterEnvironment()},
                           .callbacks = {Speed(warm, window, batch_size * sizes.n_positions)},
                           .enable_checkpointing = false});
  rtrain::prepare_trainer(trainer).fit(LanguageModel(sizes, config.value("lr", 6e-4)), data);
}
RTRAIN_TRAIN_FUNCTION(train_func);
