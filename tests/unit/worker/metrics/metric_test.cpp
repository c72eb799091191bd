#include "tests/support/catch.h"
#include "tests/support/training.h"
#include "tests/unit/worker/metrics/many.h"

namespace metric_test {

using namespace rtrain;
using namespace rtrain::metrics;
using Catch::Matchers::Contains;

TEST_CASE("metrics: states saved within an epoch go on as if never interrupted", "[unit][worker][metrics]") {
  torch::manual_seed(5);
  for (const auto& kind : test::all_kinds()) {
    INFO(kind.name);
    const auto straight = kind.make(), before = kind.make(), after = kind.make();
    for (int i = 0; i < 2; ++i) {
      const auto [preds, target] = kind.batch(5);
      straight->update(preds, target);
      before->update(preds, target);
    }
    after->load_state_dict(before->state_dict());
    CHECK(after->update_count() == 2);
    const auto [preds, target] = kind.batch(3);
    straight->update(preds, target);
    after->update(preds, target);
    CHECK(test::same(after->compute(), straight->compute(), 0));
    CHECK(test::same(after->state_dict(), straight->state_dict()));
    after->reset();
    CHECK_FALSE(after->updated());
    CHECK(test::same(after->state_dict(), kind.make()->state_dict()));
  }
}

TEST_CASE("metrics: operator() gives the batch's value and adds the batch", "[unit][worker][metrics]") {
  torch::manual_seed(6);
  for (const auto& kind : test::all_kinds()) {
    INFO(kind.name);
    const auto called = kind.make(), updated = kind.make();
    for (int i = 0; i < 3; ++i) {
      const auto [preds, target] = kind.batch(4 + i);
      const auto alone = kind.make();
      alone->update(preds, target);
      updated->update(preds, target);
      const auto value = (*called)(preds, target);
      CHECK(test::same(value, alone->compute(), 0));
      REQUIRE(called->batch_value());
      CHECK(test::same(*called->batch_value(), value, 0));
    }
    CHECK(called->update_count() == 3);
    CHECK(test::same(called->compute(), updated->compute()));
  }
}

TEST_CASE("metrics: a batch is the sum of its parts, whatever the type of the inputs",
          "[unit][worker][metrics]") {
  torch::manual_seed(7);
  for (const auto& kind : test::all_kinds()) {
    INFO(kind.name);
    const auto [preds, target] = kind.batch(9);
    const auto whole = kind.make(), parts = kind.make();
    whole->update(preds, target);
    for (std::int64_t at = 0; at < 9; at += 3) parts->update(preds.narrow(0, at, 3), target.narrow(0, at, 3));
    CHECK(test::same(whole->compute(), parts->compute()));
    const auto wide = kind.make();
    wide->update(preds.to(torch::kFloat64), target);
    CHECK(test::same(whole->compute(), wide->compute(), 1e-5));
  }
}

TEST_CASE("metrics: inference mode and gradients leave no trace in the states", "[unit][worker][metrics]") {
  torch::manual_seed(8);
  for (const auto& kind : test::all_kinds()) {
    INFO(kind.name);
    const auto metric = kind.make(), plain = kind.make();
    for (int i = 0; i < 4; ++i) {
      const auto [preds, target] = kind.batch(4);
      plain->update(preds, target);
      if (i % 2 == 0) {
        const c10::InferenceMode guard;
        metric->update(preds, target);
        (void)metric->compute();
      } else {
        metric->update(preds.detach().set_requires_grad(true) * 1, target);
      }
    }
    CHECK(test::same(metric->compute(), plain->compute(), 0));
    for (const auto& [name, state] : metric->state_dict()) CHECK_FALSE(state.requires_grad());
    metric->reset();
  }
}

TEST_CASE("metrics: an empty batch changes nothing", "[unit][worker][metrics]") {
  Accuracy accuracy({.num_classes = 4});
  accuracy.update(torch::randn({0, 4}), torch::zeros({0}, torch::kInt64));
  CHECK(accuracy.compute().item() == 0);
  MaxMetric max;
  max.update(torch::zeros({0}));
  max.update(-3.0);
  CHECK(max.compute().item() == -3);
}

TEST_CASE("metrics: computed before any update, the value of no data and one warning",
          "[unit][worker][metrics]") {
  Accuracy accuracy({.num_classes = 4});
  MeanMetric mean;
  R2Score r2;
  AUROC roc({.task = Task::kBinary});
  PearsonCorrCoef pearson;
  std::string text;
  {
    const test::Heard heard;
    for (int i = 0; i < 2; ++i) {
      CHECK(accuracy.compute().item() == 0);
      CHECK(std::isnan(mean.compute().item()));
      CHECK(std::isnan(r2.compute().item()));
      CHECK(std::isnan(pearson.compute().item()));
      CHECK(roc.compute().item() == 0);
    }
    text = heard.text();
  }
  for (const char* name : {"Accuracy", "MeanMetric", "R2Score", "AUROC", "PearsonCorrCoef"}) {
    const auto line = std::string(name) + ".compute(): there was no update";
    const auto first = text.find(line);
    CHECK(first != std::string::npos);
    CHECK(text.find(line, first + 1) == std::string::npos);
  }
}

TEST_CASE("metrics: moved, a metric keeps its states", "[unit][worker][metrics]") {
  Accuracy first({.num_classes = 3});
  const auto target = torch::tensor({0, 1, 2});
  first.update(target, target);
  Accuracy second(std::move(first));
  second.update((target + 1) % 3, target);
  CHECK(second.compute().item() == 0.5);
}

TEST_CASE("metrics: states of two parts become one, as for another number of ranks",
          "[unit][worker][metrics]") {
  torch::manual_seed(9);
  for (const auto& kind : test::all_kinds()) {
    INFO(kind.name);
    const auto whole = kind.make(), a = kind.make(), b = kind.make(), empty = kind.make();
    const auto one = kind.batch(6), two = kind.batch(3);
    whole->update(one.first, one.second);
    whole->update(two.first, two.second);
    a->update(one.first, one.second);
    b->update(two.first, two.second);
    empty->load_state_dict(
        whole->merged(whole->merged(a->state_dict(), empty->state_dict()), b->state_dict()));
    CHECK(test::same(empty->compute(), whole->compute()));
    CHECK(empty->update_count() == 2);
  }
}

TEST_CASE("metrics: values that are NaN", "[unit][worker][metrics]") {
  const auto nan = std::nan("");
  const auto values = torch::tensor({1.0, nan, 5.0});
  const auto mean = [&](NanStrategy strategy) {
    MeanMetric metric({.nan_strategy = strategy});
    metric.update(values);
    return metric.compute().item();
  };
  const test::Heard heard;
  CHECK(mean(Nan::kIgnore) == 3);
  CHECK(heard.text().empty());
  CHECK(std::isnan(mean(Nan::kDisable)));
  CHECK(mean(6.0) == 4);
  CHECK_THROWS_WITH(mean(Nan::kError), Contains("MeanMetric.update(): a value or its weight is NaN"));
  CHECK(mean(Nan::kWarn) == 3);
  CHECK_THAT(heard.text(), Contains("1 value(s) or weights were NaN"));
  MinMetric min;
  min.update(values);
  CHECK(min.compute().item() == 1);
  CatMetric cat({.nan_strategy = Nan::kIgnore});
  cat.update(values.reshape({3, 1}));
  CHECK(torch::equal(cat.compute().tensor(), torch::tensor({1.0, 5.0}, torch::kFloat64)));
}

TEST_CASE("metrics: a running mean's batch value is the batch's", "[unit][worker][metrics]") {
  RunningMean running(2);
  for (const double value : {1.0, 2.0, 6.0}) CHECK(running(value).item() == value);
  CHECK(running.compute().item() == 4);
  RunningMean resumed(2);
  resumed.load_state_dict(running.state_dict());
  resumed.update(10.0);
  CHECK(resumed.compute().item() == 8);
}

TEST_CASE("metrics: a perplexity from losses", "[unit][worker][metrics]") {
  torch::manual_seed(10);
  const auto logits = torch::randn({4, 5, 6});
  const auto tokens = torch::randint(6, {4, 5}, torch::kInt64);
  Perplexity from_logits, from_losses;
  from_logits.update(logits, tokens);
  for (std::int64_t i = 0; i < 4; ++i)
    from_losses.update_loss(torch::nn::functional::cross_entropy(logits[i], tokens[i]), 5);
  CHECK(from_losses.compute().item() == Approx(from_logits.compute().item()));
}

}  // namespace metric_test
