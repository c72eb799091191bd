// Mixed precision on the device: the types that autocast gives, and a scaler for which the host waits
// nowhere.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"

#include <limits>

#ifdef RTRAIN_WITH_NCCL
#include <c10/cuda/CUDAFunctions.h>
#endif

using namespace rtrain;
using rtrain::test::device;
using rtrain::test::on_cuda;
using rtrain::test::on_device;

namespace {

/// While it lives, an operation that makes the host wait for the GPU throws.
class NoWaiting {
 public:
  NoWaiting() { set(true); }
  ~NoWaiting() { set(false); }
  NoWaiting(const NoWaiting&) = delete;
  NoWaiting& operator=(const NoWaiting&) = delete;

 private:
  static void set(bool on) {
#ifdef RTRAIN_WITH_NCCL
    c10::cuda::warning_state().set_sync_debug_mode(on ? c10::cuda::SyncDebugMode::L_ERROR
                                                      : c10::cuda::SyncDebugMode::L_DISABLED);
#else
    (void)on;
#endif
  }
};

struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(16, 64));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(64, 3));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto logits = second(torch::relu(first(batch.input)));
    logits_type = logits.scalar_type();
    softmax_type = torch::softmax(logits, 1).scalar_type();
    return torch::nn::functional::cross_entropy(logits, batch.target);
  }
  Optimizers configure_optimizers() override { return optim::AdamW(parameters(), {.lr = 0.01}); }
  torch::ScalarType logits_type{}, softmax_type{};
};

DataLoader samples() {
  torch::manual_seed(3);
  const auto x = torch::randn({256, 16});
  return {data::TensorDataset(x, x.narrow(1, 0, 3).argmax(1)), {.batch_size = 32}};
}

double trained_loss(Net& net, AnyPrecision precision) {
  double last = 0;
  Trainer trainer(
      on_device({.max_epochs = 10,
                 .precision = std::move(precision),
                 .callbacks = {LambdaCallback(
                     {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput& output,
                                                const Batch&, std::int64_t) {
                       if (t.global_step() == 80) last = output.loss.item<double>();
                     }})}}));
  trainer.fit(net, samples());
  return last;
}

}  // namespace

TEST_CASE("gpu: mixed precision has autocast's types and learns as float32 does", "[gpu][precision]") {
  seed_everything(1);
  Net plain;
  const auto loss = trained_loss(plain, "32-true");
  CHECK(loss < 0.3);
  for (const std::string name : {"bf16-mixed", "16-mixed"}) {
    INFO(name);
    seed_everything(1);
    Net net;
    const auto precision = std::make_shared<MixedPrecision>(name);
    CHECK(std::abs(trained_loss(net, precision) - loss) < 0.05);
    CHECK(net.logits_type == (name == "bf16-mixed" ? torch::kBFloat16 : torch::kHalf));
    if (on_cuda()) CHECK(net.softmax_type == torch::kFloat32);
    CHECK(net.first->weight.scalar_type() == torch::kFloat32);
  }
}

TEST_CASE("gpu: the host does not wait for a scaler, and an infinity leaves the step out",
          "[gpu][precision]") {
  GradScaler scaler({.init_scale = 1024, .growth_interval = 2});
  const auto p = torch::ones({100}, device()).requires_grad_();
  const auto factor = torch::ones({100}, device());
  const auto infinity = torch::full({100}, std::numeric_limits<float>::infinity(), device());
  const auto optimizer = optim::AdamW({p}, {.lr = 0.1});
  const auto step = [&](const torch::Tensor& times) {
    optimizer->zero_grad();
    scaler.scale((p * times).sum()).backward();
    scaler.unscale(*optimizer);
    optimizer->step(scaler.inputs_for(*optimizer));
    scaler.update();
  };
  step(factor);  // makes state and scale on the device
  const auto before = p.detach().clone();
  {
    const NoWaiting none;
    step(infinity);
  }
  CHECK(torch::equal(p, before));
  CHECK(scaler.get_scale() == 512);
  {
    const NoWaiting none;
    step(factor);
    step(factor);
  }
  CHECK_FALSE(torch::equal(p, before));
  CHECK(scaler.get_scale() == 1024);
}
