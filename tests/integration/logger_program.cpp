// Trains a small model with the loggers of a JSON list, as a user would. Usage: logger_program LOGGERS_JSON
// [fail|wait]. Prints one JSON line for worker_loggers.py.
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <iostream>
#include <stdexcept>
#include <string>

namespace {

struct Model : rtrain::LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
  std::string how;
  explicit Model(std::string given) : how(std::move(given)) {
    save_hyperparameters({{"lr", 0.125}, {"model", {{"layers", 1}, {"name", "small"}}}});
  }
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t batch_idx) override {
    log("value", 10.0 + static_cast<double>(batch_idx));
    if (how == "fail" && batch_idx == 2) throw std::runtime_error("broken on purpose");
    if (how == "wait" && batch_idx == 2) {  // for the test to bring its server back
      std::string line;
      std::getline(std::cin, line);
    }
    return layer(batch.input).square().mean();
  }
  void on_train_end() override {
    for (const auto& logger : trainer().loggers()) {
      logger->log_histogram("weights", torch::tensor({-2.0, -1.0, 0.0, 0.5, 3.0}), 4);
      logger->log_image("gray", torch::linspace(0, 1, 12).view({3, 4}), 4);
      logger->log_image("color", torch::full({3, 2, 5}, 200, torch::kUInt8), 4);
      logger->log_text("note", "a **bold** word", 4);
    }
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::SGD(parameters(), {.lr = 0.125});
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  auto loggers = rtrain::loggers_from(nlohmann::json::parse(argv[1]));
  const rtrain::DataLoader data(rtrain::data::TensorDataset(torch::randn({4, 4})),
                                {.batch_size = 1, .num_workers = 0});
  rtrain::Trainer trainer({.max_epochs = 1,
                           .log_every_n_steps = 1,
                           .accelerator = "cpu",
                           .loggers = loggers,
                           .enable_checkpointing = false,
                           .enable_progress_bar = false});
  bool failed = false;
  try {
    trainer.fit(Model(argc > 2 ? argv[2] : ""), data);
  } catch (const std::runtime_error&) {
    failed = true;
  }
  const auto& first = *trainer.logger();
  std::cout << nlohmann::json{{"log_dir", first.log_dir().string()},
                              {"version", first.version()},
                              {"failed", failed}}
                   .dump()
            << std::endl;
}
