#include "tests/support/catch.h"
#include "tests/support/training.h"

namespace batch_test {

using namespace rtrain;

namespace {

struct Detection {
  torch::Tensor image, boxes;
  std::vector<torch::Tensor> masks{};
  std::string file{};
  void for_each_tensor(auto&& visit) {
    visit(image), visit(boxes);
    for (auto& mask : masks) visit(mask);
  }
};

}  // namespace

TEST_CASE("batch: two tensors, as ever", "[unit][data]") {
  const Batch batch{torch::ones({3, 2}), torch::zeros({3})};
  CHECK(batch.size() == 3);
  CHECK_FALSE(batch.empty());
  CHECK(Batch(torch::ones({5})).size() == 5);
  CHECK(Batch(torch::scalar_tensor(1)).size() == 1);
  CHECK(Batch().size() == 0);
  CHECK(Batch().empty());
  const auto there = batch.to(torch::kCPU);
  CHECK(there.input.is_same(batch.input));
}

TEST_CASE("batch: a value of any type shows its tensors", "[unit][data]") {
  const Batch batch = Detection{torch::ones({2, 3}), torch::zeros({4}), {torch::ones({1}), {}}, "a.jpg"};
  CHECK(batch.holds<Detection>());
  CHECK(batch.as<Detection>().file == "a.jpg");
  CHECK(batch.size() == 2);
  int tensors = 0;
  batch.for_each_tensor([&](const torch::Tensor&) { ++tensors; });
  CHECK(tensors == 3);  // the undefined mask is passed by
  CHECK_THROWS_WITH(batch.as<Nested>(), Catch::Contains("the batch holds ") && Catch::Contains("Detection") &&
                                            Catch::Contains("asked for rtrain::Nested"));
  CHECK_THROWS_WITH(Batch(torch::ones({1})).as<Nested>(),
                    Catch::Contains("no value beside input and target"));
}

TEST_CASE("batch: copies share the value until one of them changes it", "[unit][data]") {
  const Batch first = Detection{torch::ones({2}), torch::zeros({2})};
  Batch second = first;
  CHECK(&second.as<Detection>() == &first.as<Detection>());
  second.for_each_tensor([](torch::Tensor& tensor) { tensor = tensor + 1; });
  CHECK(first.as<Detection>().image.eq(1).all().item<bool>());
  CHECK(second.as<Detection>().image.eq(2).all().item<bool>());
}

TEST_CASE("batch: batches by name", "[unit][data]") {
  Nested both;
  both.items = {{"image", Batch(torch::ones({4, 2}))}, {"text", Batch(torch::zeros({4}), torch::ones({4}))}};
  const Batch batch = both;
  CHECK(batch.size() == 4);
  CHECK(batch.as<Nested>()["text"].target.eq(1).all().item<bool>());
  CHECK_THROWS_WITH(batch.as<Nested>()["txt"], "the batch has no \"txt\"; it has image, text");
}

TEST_CASE("batch: a model trains on batches of its own type", "[unit][data][trainer]") {
  struct Boxes : Dataset {
    [[nodiscard]] std::int64_t size() const override { return 8; }
    [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
      const auto n = static_cast<std::int64_t>(indices.size());
      return Detection{torch::ones({n, 3}), torch::full({n, 1}, 2.0)};
    }
  };
  struct Detector : LightningModule {
    torch::nn::Linear layer = register_module("layer", torch::nn::Linear(3, 1));
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      const auto& sample = batch.as<Detection>();
      const auto loss = (layer(sample.image) - sample.boxes).square().mean();
      log("loss", loss, {.on_step = false, .on_epoch = true});
      return loss;
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
  } model;
  Trainer trainer(test::quiet({.max_epochs = 30}));
  trainer.fit(model, DataLoader(std::make_shared<Boxes>(), {.batch_size = 4}));
  CHECK(trainer.callback_metrics().at("loss") < 1e-4);
}

}  // namespace batch_test
