// A decoder learns a text byte by byte, and writes some of its own at the end.
#include <rtrain/rtrain.h>

#include <torch/nn/functional/loss.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// Windows of a text: sample i begins at byte i * step, and its target is the text one byte later.
class Windows : public rtrain::Dataset {
 public:
  Windows(torch::Tensor bytes, std::int64_t context, std::int64_t step)
      : bytes_(std::move(bytes)), context_(context), step_(step) {}
  [[nodiscard]] std::int64_t size() const override {
    return std::max<std::int64_t>(0, (bytes_.size(0) - context_ - 1) / step_ + 1);
  }
  [[nodiscard]] rtrain::Batch get_batch(std::span<const std::int64_t> indices) const override {
    std::vector<torch::Tensor> windows;
    for (const auto i : indices) windows.push_back(bytes_.narrow(0, i * step_, context_ + 1));
    const auto all = torch::stack(windows).to(torch::kLong);
    return {all.narrow(1, 0, context_), all.narrow(1, 1, context_)};
  }

 private:
  torch::Tensor bytes_;
  std::int64_t context_, step_;
};

/// The last tenth of the text is for validation.
class Text : public rtrain::LightningDataModule {
 public:
  Text(std::string path, std::int64_t context, std::int64_t batch_size)
      : path_(std::move(path)), context_(context), batch_size_(batch_size) {
    save_hyperparameters({{"text", path_}, {"context", context}, {"batch_size", batch_size}});
  }
  void setup(rtrain::Stage) override {
    std::ifstream in(path_, std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const auto size = static_cast<std::int64_t>(text.size()), learned = size * 9 / 10;
    if (size - learned <= context_)
      throw std::runtime_error("text: " + path_ + " has " + std::to_string(size) +
                               " bytes, expected more than " + std::to_string(10 * context_));
    const auto bytes = torch::from_blob(const_cast<char*>(text.data()), {size}, torch::kUInt8).clone();
    train_ = std::make_shared<Windows>(bytes.narrow(0, 0, learned), context_, context_ / 2);
    val_ = std::make_shared<Windows>(bytes.narrow(0, learned, size - learned), context_, context_);
  }
  rtrain::DataLoaders train_dataloader() override {
    return rtrain::DataLoader(train_, {.batch_size = batch_size_, .shuffle = true});
  }
  rtrain::DataLoaders val_dataloader() override {
    return rtrain::DataLoader(val_, {.batch_size = batch_size_});
  }

 private:
  std::string path_;
  std::int64_t context_, batch_size_;
  std::shared_ptr<rtrain::Dataset> train_, val_;
};

struct Sizes {
  std::string model;
  std::int64_t context, layers, heads, width;
};

class Writer : public rtrain::LightningModule {
 public:
  Writer(const Sizes& sizes, double lr) : context_(sizes.context), lr_(lr) {
    save_hyperparameters({{"model", sizes.model},
                          {"layers", sizes.layers},
                          {"heads", sizes.heads},
                          {"width", sizes.width},
                          {"lr", lr}});
    if (sizes.model == "gpt2")
      gpt2_ = register_module("gpt2",
                              rtrain::models::GPT2(rtrain::models::GPT2Options{.vocab_size = 256,
                                                                               .n_positions = sizes.context,
                                                                               .n_embd = sizes.width,
                                                                               .n_layer = sizes.layers,
                                                                               .n_head = sizes.heads}));
    else if (sizes.model == "llama")
      llama_ = register_module("llama", rtrain::models::Llama(rtrain::models::LlamaOptions{
                                            .vocab_size = 256,
                                            .hidden_size = sizes.width,
                                            .intermediate_size = 8 * sizes.width / 3,
                                            .num_hidden_layers = sizes.layers,
                                            .num_attention_heads = sizes.heads}));
    else
      throw std::invalid_argument("model is \"" + sizes.model + "\", expected \"gpt2\" or \"llama\"");
  }
  torch::Tensor forward(const torch::Tensor& bytes) {
    return gpt2_.is_empty() ? llama_(bytes) : gpt2_(bytes);
  }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto loss = loss_of(batch);
    log("loss", loss, {.prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto loss = loss_of(batch);
    log("val_loss", loss, {.prog_bar = true, .sync_dist = true});
    return loss;
  }
  rtrain::Optimizers configure_optimizers() override {
    const auto adamw =
        rtrain::optim::AdamW(rtrain::optim::split_decay(*this, 0.1), {.lr = lr_, .beta2 = 0.95});
    const auto schedule =
        rtrain::lr::OneCycleLR(adamw, {.max_lr = lr_, .total_steps = trainer().estimated_stepping_batches()});
    return {{adamw}, {rtrain::LRSchedulerConfig{.scheduler = schedule, .interval = rtrain::Interval::kStep}}};
  }
  /// What it writes after `begin`.
  std::string write(const std::string& begin, std::int64_t count) {
    const torch::NoGradGuard no_grad;
    eval();
    auto text = begin;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto seen =
          text.substr(text.size() - std::min<std::size_t>(text.size(), static_cast<std::size_t>(context_)));
      auto bytes = torch::empty({1, static_cast<std::int64_t>(seen.size())}, torch::kLong);
      for (std::size_t k = 0; k < seen.size(); ++k)
        bytes[0][static_cast<std::int64_t>(k)] =
            static_cast<std::int64_t>(static_cast<unsigned char>(seen[k]));
      const auto likely = torch::softmax(forward(bytes.to(device())).select(1, -1)[0] / 0.8, 0);
      text += static_cast<char>(torch::multinomial(likely, 1).item<std::int64_t>());
    }
    return text;
  }

 private:
  torch::Tensor loss_of(const rtrain::Batch& batch) {
    const auto logits = forward(batch.input);
    return torch::nn::functional::cross_entropy(logits.flatten(0, 1), batch.target.flatten());
  }
  std::int64_t context_;
  double lr_;
  rtrain::models::GPT2 gpt2_{nullptr};
  rtrain::models::Llama llama_{nullptr};
};

}  // namespace

nlohmann::json train_func(const rtrain::Config& config) {
  rtrain::seed_everything(config.value<std::uint64_t>("seed", 0));
  const auto context = config.value<std::int64_t>("context", 64);
  const auto model = std::make_shared<Writer>(
      Sizes{config.value<std::string>("model", "gpt2"), context, config.value<std::int64_t>("layers", 2),
            config.value<std::int64_t>("heads", 4), config.value<std::int64_t>("width", 64)},
      config.value("lr", 3e-3));
  Text text(config.value<std::string>("text", "/usr/share/common-licenses/GPL-3"), context,
            config.value<std::int64_t>("batch_size", 16));
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("epochs", 3),
                           .gradient_clip_val = 1.0,
                           .precision = config.value<std::string>("precision", "32-true"),
                           .callbacks = {rtrain::TrainReportCallback()}});
  rtrain::prepare_trainer(trainer).fit(model, text, rtrain::get_checkpoint());
  if (!trainer.is_global_zero()) return nullptr;
  const auto written =
      model->write(config.value<std::string>("begin", "The "), config.value<std::int64_t>("write", 200));
  std::cout << written << std::endl;
  return {{"written", written.size()}};
}
RTRAIN_TRAIN_FUNCTION(train_func);
