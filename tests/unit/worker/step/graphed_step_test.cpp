// When a step warms up, is captured, replayed or eager; static buffers and learning rates of a captured step.
#include "tests/support/catch.h"
#include "tests/support/fake_recorder.h"

#include "worker/step/graphed_step.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

namespace graphed_step_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::FakeRecorder;

namespace {

using enum StepMode;

/// One linear layer, its optimizer, and a step of both.
struct Training {
  explicit Training(const StepCapture::Limits& limits = {.warmup = 2}) : step(recorder, of(), limits) {}
  GraphedStep::Of of() {
    return {.optimizer = *optimizer,
            .module = *model,
            .device = torch::kCPU,
            .warn = [this](const std::string& text) { warnings.push_back(text); }};
  }
  torch::Tensor train(const Batch& batch) {
    return step
        .run(batch,
             [this](const Batch& given) {
               ++eager_calls;
               if (seen.empty() || !seen.back().is_same(given.input)) seen.push_back(given.input);
               for (auto& p : model->parameters()) p.mutable_grad().reset();
               const auto loss = model->forward(given.input).square().mean();
               loss.backward();
               optimizer->step();
               return StepOutput(loss.detach());
             })
        .loss;
  }
  torch::nn::Linear model{torch::nn::LinearOptions(3, 1)};
  std::shared_ptr<FakeRecorder> recorder = std::make_shared<FakeRecorder>();
  std::shared_ptr<Optimizer> optimizer = optim::SGD(model->parameters(), {.lr = 0.1, .momentum = 0.9});
  std::vector<std::string> warnings;
  std::vector<torch::Tensor> seen;
  int eager_calls = 0;
  GraphedStep step;
};

Batch batch_of(std::int64_t samples) { return {torch::randn({samples, 3})}; }

/// Twice the same model: one in graphs, one eager.
struct Pair {
  Pair() {
    torch::manual_seed(1);
    graphed = std::make_unique<Training>();
    torch::manual_seed(1);
    eager = std::make_unique<Training>();
    eager->step.fall_back("");
  }
  void require_alike(const Batch& batch) const {
    const auto a = graphed->train(batch), b = eager->train(batch);
    CHECK(torch::equal(a, b));
    CHECK(torch::equal(graphed->model->weight, eager->model->weight));
  }
  std::unique_ptr<Training> graphed, eager;
};

}  // namespace

TEST_CASE("a step warms up, is captured once and replayed", "[graph]") {
  StepCapture capture({.warmup = 2, .captures = 2, .restarts = 1});
  CHECK(capture.next(false) == kWarmup);
  CHECK(capture.next(false) == kWarmup);
  CHECK(capture.next(false) == kCapture);
  CHECK(capture.next(true) == kReplay);
  CHECK(capture.next(false) == kCapture);  // another shape
  CHECK(capture.reason().empty());
  CHECK(capture.next(false) == kEager);  // one more than the limit
  CHECK_THAT(capture.reason(), Contains("more than 2 shapes or types") && Contains("drop_last"));
  CHECK(capture.next(true) == kReplay);  // those that have a graph keep it
  CHECK_FALSE(capture.is_refused());
}

TEST_CASE("a step that was refused stays eager, for the first reason", "[graph]") {
  StepCapture capture({.warmup = 0});
  capture.refuse("one");
  capture.refuse("two");
  CHECK(capture.next(false) == kEager);
  CHECK(capture.next(true) == kEager);
  CHECK(capture.is_refused());
  CHECK(capture.reason() == "one");
}

TEST_CASE("a step warms up again after a change, a bounded number of times", "[graph]") {
  StepCapture capture({.warmup = 1, .captures = 8, .restarts = 2});
  for (int i = 0; i < 2; ++i) {
    CHECK(capture.next(false) == kWarmup);
    CHECK(capture.next(false) == kCapture);
    capture.restart("\"weight\" was frozen");
  }
  CHECK(capture.next(false) == kWarmup);
  capture.restart("\"weight\" was frozen");
  CHECK(capture.next(false) == kEager);
  CHECK_THAT(capture.reason(), Contains("\"weight\" was frozen") && Contains("3 times"));
}

TEST_CASE("a graphed step learns what an eager one does, from buffers of its own", "[graph]") {
  const Pair pair;
  torch::manual_seed(2);
  for (int i = 0; i < 8; ++i) pair.require_alike(batch_of(4));
  CHECK(pair.graphed->recorder->records == 1);
  CHECK(pair.graphed->recorder->replays == 6);
  CHECK(pair.graphed->step.replays() == 6);
  // Two batches as they came, then one buffer for all.
  CHECK(pair.graphed->seen.size() == 3);
}

TEST_CASE("another shape or type of a batch is another graph", "[graph]") {
  const Pair pair;
  torch::manual_seed(3);
  for (int i = 0; i < 3; ++i)
    for (const std::int64_t samples : {4, 4, 2}) pair.require_alike(batch_of(samples));
  CHECK(pair.graphed->recorder->records == 2);
  Batch strided{torch::randn({3, 4}).t()};
  pair.require_alike(strided);
  CHECK(pair.graphed->recorder->records == 3);
}

TEST_CASE("a loss that a graphed step returned is not written again", "[graph]") {
  const Pair pair;
  torch::manual_seed(4);
  for (int i = 0; i < 2; ++i) pair.require_alike(batch_of(4));
  const auto first = pair.graphed->train(batch_of(4));
  const auto kept = first.clone();
  (void)pair.graphed->train(batch_of(4));
  CHECK(torch::equal(first, kept));
}

TEST_CASE("a scheduler's learning rate reaches a captured step", "[graph]") {
  const Pair pair;
  torch::manual_seed(5);
  for (int i = 0; i < 10; ++i) {
    const double lr = 0.1 / (1 + i);
    pair.graphed->optimizer->set_lr(lr);
    pair.eager->optimizer->set_lr(lr);
    pair.require_alike(batch_of(4));
  }
  CHECK(pair.graphed->recorder->records == 1);
}

TEST_CASE("the fused optimizers take the learning rate of each group as a tensor", "[graph][optim]") {
  const auto check = [](const auto& make) {
    torch::manual_seed(6);
    std::vector<torch::Tensor> a, b;
    for (int i = 0; i < 4; ++i) {
      a.push_back(torch::randn({3}, torch::requires_grad()));
      b.push_back(a.back().detach().clone().set_requires_grad(true));
    }
    const auto by_number = make(a), by_tensor = make(b);
    std::vector<torch::Tensor> rates{torch::full({}, 0.1, torch::kDouble),
                                     torch::full({}, 0.02, torch::kDouble)};
    REQUIRE(by_tensor->read_lr_from(rates));
    by_number->set_lr(0.1, 0);
    by_number->set_lr(0.02, 1);
    for (int step = 0; step < 4; ++step) {
      for (std::size_t i = 0; i < 4; ++i) a[i].mutable_grad() = b[i].mutable_grad() = torch::randn({3});
      by_number->step();
      by_tensor->step();
    }
    for (std::size_t i = 0; i < 4; ++i) CHECK(torch::equal(a[i], b[i]));
    CHECK_FALSE(by_tensor->read_lr_from({rates[0]}));  // one for each group
    CHECK(by_tensor->read_lr_from({}));
  };
  const auto groups = [](const std::vector<torch::Tensor>& p, auto group) {
    std::vector<decltype(group)> all(2);
    all[0].params = {p[0], p[1]};
    all[1].params = {p[2], p[3]};
    return all;
  };
  SECTION("SGD") {
    check([&](const auto& p) { return optim::SGD(groups(p, optim::SGDGroup()), {.momentum = 0.9}); });
  }
  SECTION("Adam") {
    check([&](const auto& p) { return optim::Adam(groups(p, optim::AdamGroup())); });
  }
  SECTION("AdamW") {
    check([&](const auto& p) { return optim::AdamW(groups(p, optim::AdamGroup())); });
  }
  SECTION("Adagrad") {
    check([&](const auto& p) { return optim::Adagrad(groups(p, optim::AdagradGroup())); });
  }
}

TEST_CASE("an optimizer that decides on the host takes no tensor for its learning rate", "[graph][optim]") {
  std::vector<torch::Tensor> p{torch::randn({3}, torch::requires_grad())};
  const auto rate = torch::full({}, 0.1);
  CHECK_FALSE(optim::NAdam(p)->read_lr_from({rate}));
  CHECK_FALSE(optim::LBFGS(p)->read_lr_from({rate}));
  CHECK(optim::NAdam(p)->read_lr_from({}));
}

TEST_CASE("what a graph has as a constant is watched", "[graph]") {
  Training training;
  torch::manual_seed(7);
  for (int i = 0; i < 4; ++i) (void)training.train(batch_of(4));
  REQUIRE(training.recorder->records == 1);
  SECTION("a parameter that is frozen") {
    training.model->bias.set_requires_grad(false);
    const auto before = training.model->bias.clone();
    for (int i = 0; i < 4; ++i) (void)training.train(batch_of(4));
    CHECK(torch::equal(training.model->bias, before));
    CHECK(training.recorder->records == 2);
  }
  SECTION("a parameter that moves") {
    {
      const torch::NoGradGuard no_grad;
      training.model->weight.set_data(training.model->weight.clone());
    }
    for (int i = 0; i < 4; ++i) (void)training.train(batch_of(4));
    CHECK(training.recorder->records == 2);
  }
  SECTION("the state of the optimizer that is loaded") {
    training.optimizer->load_state_dict(training.optimizer->state_dict());
    for (int i = 0; i < 4; ++i) (void)training.train(batch_of(4));
    CHECK(training.recorder->records == 2);
  }
  SECTION("an option that changes in each step ends in eager steps, and says so once") {
    for (int i = 0; i < 60; ++i) {
      training.optimizer->groups()[0].options["momentum"] = 0.5 + 0.005 * i;
      (void)training.train(batch_of(4));
    }
    CHECK(training.recorder->records == 9);
    REQUIRE(training.warnings.size() == 1);
    CHECK_THAT(training.warnings[0],
               Contains("\"momentum\" of SGD has changed") && Contains("cycle_momentum"));
  }
}

TEST_CASE("what a step cannot be captured with ends in eager steps and one warning", "[graph]") {
  Training training;
  training.step.fall_back("the program says so");
  training.step.fall_back("another reason");
  for (int i = 0; i < 5; ++i) (void)training.train(batch_of(4));
  CHECK(training.recorder->records == 0);
  CHECK(training.eager_calls == 5);
  REQUIRE(training.warnings.size() == 1);
  CHECK_THAT(training.warnings[0], Contains("eagerly from here on: the program says so"));
}

TEST_CASE("more shapes than graphs leave the others eager, with one warning", "[graph]") {
  Training training({.warmup = 1, .captures = 2});
  for (const std::int64_t samples : {4, 4, 3, 2, 1, 4}) (void)training.train(batch_of(samples));
  CHECK(training.recorder->records == 2);
  REQUIRE(training.warnings.size() == 1);
  CHECK_THAT(training.warnings[0], Contains("some steps run eagerly: the batches have more than 2"));
  CHECK(training.step.replays() == 3);
}

TEST_CASE("an operation that cannot be captured ends the fit with its cause", "[graph]") {
  Training training;
  training.recorder->fault = [] { TORCH_CHECK(false, "operation not permitted when stream is capturing"); };
  for (int i = 0; i < 2; ++i) (void)training.train(batch_of(4));
  CHECK_THROWS_WITH(training.train(batch_of(4)),
                    Contains("cannot be captured: operation not permitted when stream is capturing") &&
                        Contains("item()") && Contains("cuda_graph = false"));
}

}  // namespace graphed_step_test
