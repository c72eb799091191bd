// Training functions of the bundle's `gpu`: what a start costs, what the Trainer costs, and jobs whose ranks
// share a GPU.
#include <rtrain/rtrain.h>

#include <torch/cuda.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

namespace nn = torch::nn;

std::int64_t unix_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

/// Everything asked of the device so far is done.
void synchronize() {
  if (rtrain::get_device().is_cuda()) torch::cuda::synchronize();
}

double seconds() {
  synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::int64_t kInputs = 64, kClasses = 10;

nn::Sequential small_net() {
  return nn::Sequential(nn::Linear(kInputs, 64), nn::ReLU(), nn::Linear(64, kClasses));
}

struct Small : rtrain::LightningModule {
  explicit Small(double learning_rate) : lr(learning_rate) {}
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = nn::functional::cross_entropy(net->forward(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .prog_bar = true});
    return loss;
  }
  rtrain::Optimizers configure_optimizers() override { return rtrain::optim::Adam(parameters(), {.lr = lr}); }
  double lr;
  nn::Sequential net = register_module("net", small_net());
};

/// The same on every rank.
rtrain::Batch samples(std::int64_t count) {
  torch::manual_seed(3);
  return {torch::randn({count, kInputs}), torch::randint(kClasses, {count}, torch::kLong)};
}

/// The seconds from step `warm` to the end.
class Clock : public rtrain::Callback {
 public:
  Clock(std::int64_t warm, double& taken) : warm_(warm), taken_(taken) {}
  void on_train_batch_end(rtrain::Trainer& trainer, rtrain::LightningModule&, const rtrain::StepOutput&,
                          const rtrain::Batch&, std::int64_t) override {
    if (trainer.global_step() == warm_) begin_ = seconds();
  }
  void on_train_end(rtrain::Trainer&, rtrain::LightningModule&) override { taken_ = seconds() - begin_; }

 private:
  std::int64_t warm_;
  double& taken_;
  double begin_ = 0;
};

double with_trainer(const rtrain::DataLoader& data, std::int64_t warm, std::int64_t steps, bool graphed) {
  double taken = 0;
  rtrain::Trainer trainer({.max_epochs = -1,
                           .max_steps = warm + steps,
                           .cuda_graph = graphed,
                           .strategy = rtrain::DDPStrategy(),
                           .plugins = {rtrain::ClusterEnvironment()},
                           .callbacks = {Clock(warm, taken)},
                           .enable_checkpointing = false});
  rtrain::prepare_trainer(trainer).fit(Small(1e-3), data);
  return taken;
}

double bare(const rtrain::DataLoader& data, std::int64_t warm, std::int64_t steps) {
  auto net = small_net();
  net->to(rtrain::get_device());
  const auto optimizer = rtrain::optim::Adam(net->parameters(), {.lr = 1e-3});
  double begin = 0;
  for (std::int64_t epoch = 0, step = 0; step < warm + steps; ++epoch) {
    auto batches = data.epoch(epoch);
    while (step < warm + steps) {
      const auto batch = batches.next();
      if (!batch) break;
      auto loss = nn::functional::cross_entropy(net->forward(batch->input), batch->target);
      for (const auto& parameter : optimizer->parameters()) parameter.mutable_grad().reset();
      loss.backward();
      optimizer->step();
      if (++step == warm) begin = seconds();
    }
  }
  return seconds() - begin;
}

}  // namespace

/// When the function, its first kernel and its first step of the guide's model were done, on the clock of the
/// wall.
void first_step(const rtrain::Config& config) {
  const auto entered = unix_ns();
  const auto device = rtrain::get_device();
  (void)torch::ones({1}, device).add_(1).item<float>();
  const auto kernel = unix_ns();
  rtrain::models::ResNet model(rtrain::models::resnet18(10, 1));
  model->to(device);
  const auto optimizer = rtrain::optim::Adam(model->parameters());
  const auto count = config.value<std::int64_t>("batch_size", 128);
  const auto images = torch::rand({count, 1, 28, 28}, device);
  nn::functional::cross_entropy(model(images),
                                torch::zeros({count}, torch::TensorOptions(torch::kLong).device(device)))
      .backward();
  optimizer->step();
  synchronize();
  rtrain::report({{"entered_ns", entered}, {"kernel_ns", kernel}, {"step_ns", unix_ns()}});
}
RTRAIN_TRAIN_FUNCTION(first_step);

/// Microseconds a step of a small model: in a plain loop, with the Trainer, and with the Trainer and a CUDA
/// graph, in turns.
void loop_cost(const rtrain::Config& config) {
  const auto steps = config.value<std::int64_t>("steps", 4000),
             warm = config.value<std::int64_t>("warm_steps", 200);
  const auto all = samples(4096).to(rtrain::get_device());
  const rtrain::DataLoader data(rtrain::data::TensorDataset(all.input, all.target),
                                {.batch_size = 32, .drop_last = true, .num_workers = 0});
  std::vector<double> without, with, graphed;
  for (int window = 0; window < config.value("windows", 3); ++window) {
    without.push_back(bare(data, warm, steps) / static_cast<double>(steps) * 1e6);
    with.push_back(with_trainer(data, warm, steps, false) / static_cast<double>(steps) * 1e6);
    graphed.push_back(with_trainer(data, warm, steps, true) / static_cast<double>(steps) * 1e6);
  }
  rtrain::report({{"bare_us", nlohmann::json(without).dump()},
                  {"trainer_us", nlohmann::json(with).dump()},
                  {"graphed_us", nlohmann::json(graphed).dump()}});
}
RTRAIN_TRAIN_FUNCTION(loop_cost);

/// Each step is over all samples, shared by the ranks: the loss after some is the same for any number of
/// them.
void whole_batch(const rtrain::Config& config) {
  rtrain::seed_everything(1);
  const auto model = std::make_shared<Small>(1e-2);
  const auto device = rtrain::get_device();
  torch::Tensor held;  // so much more than a context that its end can be seen
  if (const auto mib = config.value<std::int64_t>("hold_mib", 0); mib > 0) {
    held = torch::ones({mib << 20}, torch::TensorOptions(torch::kByte).device(device));
  }
  const auto all = samples(256);
  const auto ranks = rtrain::get_context().get_world_size();
  const rtrain::DataLoader data(rtrain::data::TensorDataset(all.input, all.target),
                                {.batch_size = 256 / ranks});
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("epochs", 20),
                           .strategy = config.value("strategy", "ddp"),
                           .plugins = {rtrain::ClusterEnvironment()},
                           .enable_checkpointing = false});
  rtrain::prepare_trainer(trainer).fit(model, data);
  double loss = 0;
  rtrain::full_parameters(*model, [&] {
    const torch::NoGradGuard no_grad;
    const auto here = all.to(model->parameters()[0].device());
    loss = nn::functional::cross_entropy(model->net->forward(here.input), here.target).item<double>();
  });
  rtrain::report({{"loss", loss}, {"device", device.str()}, {"ranks", ranks}});
}
RTRAIN_TRAIN_FUNCTION(whole_batch);

/// Works until it is ended from outside. Each rank leaves its process id in the folder `out` when it has
/// begun.
void stays(const rtrain::Config& config) {
  auto tensor = torch::ones({1000}, rtrain::get_device());
  const auto file =
      config.at<std::string>("out") + "/rank-" + std::to_string(rtrain::get_context().get_world_rank());
  for (bool said = false;; said = true) {
    rtrain::process_group().all_reduce(tensor, rtrain::Communicator::Op::kMean);
    synchronize();
    if (!said) {
      std::ofstream(file + ".new") << ::getpid();
      (void)std::rename((file + ".new").c_str(), file.c_str());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}
RTRAIN_TRAIN_FUNCTION(stays);
