// A checkpoint as the version before wrote it: tests/golden/checkpoint_v2, by its write.cpp.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <fstream>

namespace version_2_test {

using namespace rtrain;
using rtrain::test::det;

namespace {

const std::filesystem::path kFolder = RTRAIN_SOURCE_DIR "/tests/golden/checkpoint_v2";

/// As in write.cpp. @param swapped the optimizer gets the parameters in another order.
struct Net : LightningModule {
  explicit Net(bool swapped = false) : is_swapped(swapped) {}
  bool is_swapped;
  torch::Tensor weight = register_parameter("weight", det({3, 2}, 2));
  torch::Tensor bias = register_parameter("bias", det({2}, 9));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return ((batch.input.unsqueeze(2) * weight).sum(1) + bias - batch.target).square().mean();
  }
  Optimizers configure_optimizers() override {
    const auto all = is_swapped ? std::vector{bias, weight} : parameters();
    return optim::AdamW(all, {.lr = 0.05, .weight_decay = 0.1, .amsgrad = true});
  }
};

/// @param save_to written after step 5; empty: nowhere.
void train(Net& net, const std::filesystem::path& from, const std::filesystem::path& save_to = {}) {
  Trainer trainer(test::quiet(
      {.max_epochs = 2,
       .callbacks = {LambdaCallback({.on_train_batch_end =
                                         [&](Trainer& t, LightningModule&, const rtrain::StepOutput&,
                                             const rtrain::Batch&, std::int64_t) {
                                           if (t.global_step() == 5 && !save_to.empty())
                                             t.save_checkpoint(save_to);
                                         }})},
       .seed = 5}));
  trainer.fit(net,
              DataLoader(data::TensorDataset(det({8, 3}, 1), det({8, 2}, 3)),
                         {.batch_size = 2, .shuffle = true, .seed = 3}),
              {}, from);
}

bool ends_as_the_writer_did(const Net& net) {
  const auto end = load_safetensors(kFolder / "end.safetensors").tensors;
  return torch::equal(net.weight.detach(), end.at("weight")) &&
         torch::equal(net.bias.detach(), end.at("bias"));
}

}  // namespace

TEST_CASE("resume: a checkpoint of version 2 goes on to the bits of the run that wrote it",
          "[unit][trainer][optim]") {
  nlohmann::json loop;
  std::ifstream(kFolder / "step3/loop.json") >> loop;
  REQUIRE(loop.at("version") == 2);
  REQUIRE(load_safetensors(kFolder / "step3/optimizer.safetensors").tensors.contains("0.max_exp_avg_sq"));
  Net net;
  train(net, kFolder / "step3");
  CHECK(ends_as_the_writer_did(net));
}

TEST_CASE("resume: version 3 names parameters, so their order may change", "[unit][trainer][optim]") {
  const test::Folder folder;
  Net net;
  train(net, kFolder / "step3", folder / "step5");
  nlohmann::json loop;
  std::ifstream(folder / "step5/loop.json") >> loop;
  CHECK(loop.at("version") == 3);
  const auto& optimizer = loop.at("optimizers").at(0);
  CHECK(optimizer.at("type") == "AdamW");
  CHECK(optimizer.at("schedulers") == nlohmann::json::array());
  CHECK(optimizer.at("groups").at(0).at("parameters") == nlohmann::json::array({"weight", "bias"}));
  CHECK(optimizer["groups"][0].at("lr") == 0.05);
  CHECK(optimizer["groups"][0].at("amsgrad") == 1.0);
  CHECK(load_safetensors(folder / "step5/optimizer.safetensors").tensors.contains("0.weight.max_exp_avg_sq"));
  Net swapped(true);
  train(swapped, folder / "step5");
  CHECK(ends_as_the_writer_did(swapped));
}

TEST_CASE("resume: a checkpoint of another optimizer is refused with all that does not fit",
          "[unit][trainer][optim]") {
  struct OfSGD : Net {
    Optimizers configure_optimizers() override {
      return optim::SGD(parameters(), {.lr = 0.1, .momentum = 0.9});
    }
  } sgd;
  CHECK_THROWS_WITH(train(sgd, kFolder / "step3"),
                    Catch::Contains("does not fit this optimizer") &&
                        Catch::Contains("SGD: the state lacks \"weight.momentum_buffer\"") &&
                        Catch::Contains("unknown entry \"bias.exp_avg\""));
}

}  // namespace version_2_test
