#include "tests/support/catch.h"

#include <rtrain/metrics.h>

#include <torch/torch.h>

namespace refusal_test {

using namespace rtrain;
using namespace rtrain::metrics;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

namespace {

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("metrics: all problems of the options at once", "[unit][worker][metrics]") {
  CHECK_THAT(
      error_of([] {
        metrics::Precision(
            {.task = Task::kBinary, .num_classes = 3, .top_k = 2, .threshold = 1.5, .zero_division = 2});
      }),
      Equals("Precision:\n"
             "  num_classes is 3, but the task is binary: leave it out, or choose the task multiclass\n"
             "  top_k is 2, but the task is binary: only multiclass has a top_k\n"
             "  threshold is 1.5, expected a probability, 0 to 1\n"
             "  zero_division is 2, expected 0 or 1"));
  CHECK_THAT(error_of([] { Accuracy({}); }),
             Equals("Accuracy: num_classes is 0, expected 2 or more for the task multiclass"));
  CHECK_THAT(error_of([] { Accuracy({.num_classes = 3, .top_k = 4}); }),
             Contains("top_k is 4, expected 1 to num_classes (3)"));
  CHECK_THAT(error_of([] { FBeta(0, {.num_classes = 0}); }),
             Contains("FBeta:\n  beta is 0") && Contains("num_classes is 0"));
  CHECK_THAT(
      error_of([] {
        AUROC({.num_classes = 3, .thresholds = {0.5, 0.2, 1.5}, .average = Average::kMicro, .max_fpr = 0.1});
      }),
      Contains("not in ascending order") && Contains("outside of 0 to 1") && Contains("average is kMicro") &&
          Contains("max_fpr is given"));
  CHECK_THAT(error_of([] { ExactMatch({.task = Task::kBinary}); }),
             Contains("Accuracy is what you look for"));
  CHECK_THAT(error_of([] { CohenKappa({.task = Task::kMultilabel}); }), Contains("take one metric a label"));
  CHECK_THAT(error_of([] { CalibrationError({.num_classes = 3, .n_bins = 0}); }), Contains("n_bins is 0"));
  CHECK_THAT(error_of([] { RunningMean(0); }), Contains("window is 0, expected 1 or more"));
  CHECK_THAT(error_of([] { MeanSquaredError({.num_outputs = 0}); }), Contains("num_outputs is 0"));
  CHECK_THAT(error_of([] { R2Score({.adjusted = -1}); }), Contains("adjusted is -1"));
  CHECK_THAT(error_of([] { MinkowskiDistance(0.5); }), Contains("p is 0.5"));
}

TEST_CASE("metrics: inputs that do not fit", "[unit][worker][metrics]") {
  Accuracy accuracy({.num_classes = 3});
  CHECK_THAT(error_of([&] { accuracy.update(torch::rand({4, 5}), torch::rand({3})); }),
             Equals("Accuracy.update():\n"
                    "  target is of type Float, expected classes as integers: target.to(torch::kInt64)\n"
                    "  preds have 5 classes in dimension 1, expected num_classes = 3\n"
                    "  preds have shape [4, 5], target [3]; expected [N, C, ...] and [N, ...]"));
  CHECK_THAT(error_of([&] { accuracy.update(torch::rand({4}), torch::zeros({4}, torch::kInt64)); }),
             Contains("preds of the shape of target are of type Float"));
  CHECK_THAT(error_of([&] { accuracy.update({}, torch::zeros({4})); }),
             Contains("preds is an undefined tensor"));
  CHECK_FALSE(accuracy.updated());
  CHECK_THAT(error_of([&] {
               AUROC({.task = Task::kBinary})
                   .update(torch::zeros({4}, torch::kInt64), torch::zeros({4}, torch::kInt64));
             }),
             Contains("expected probabilities or logits as floats"));
  CHECK_THAT(error_of([&] {
               Recall({.task = Task::kMultilabel, .num_labels = 3})
                   .update(torch::rand({4, 2}), torch::zeros({4, 2}, torch::kInt64));
             }),
             Contains("expected [N, L, ...] with num_labels = 3"));
  CHECK_THAT(error_of([&] { R2Score().update(torch::rand({4, 2}), torch::rand({4, 2})); }),
             Contains("expected [N] or [N, 1]; of more outputs num_outputs tells"));
  CHECK_THAT(error_of([&] { MeanSquaredError().update(torch::rand({4}), torch::rand({4, 1})); }),
             Contains("preds have shape [4], target [4, 1]; expected the same shape"));
  CHECK_THAT(error_of([&] { CosineSimilarity().update(torch::rand({4}), torch::rand({4})); }),
             Contains("expected twice the same [N, D]"));
  CHECK_THAT(error_of([&] { Perplexity().update(torch::rand({4, 3}), torch::zeros({4})); }),
             Contains("expected [N, T, V] and [N, T]") && Contains("expected tokens as integers"));
  CHECK_THAT(error_of([&] { MeanMetric().update(torch::rand({4}), torch::rand({3})); }),
             Contains("the weight has shape [3], which does not broadcast to the value's [4]"));
}

TEST_CASE("metrics: an exact curve has a limit, and says what to do", "[unit][worker][metrics]") {
  AUROC roc({.task = Task::kBinary, .max_samples = 10});
  const auto update = [&] { roc.update(torch::rand({6}), torch::randint(2, {6}, torch::kInt64)); };
  update();
  CHECK_THAT(error_of(update), Contains("12 samples") && Contains("max_samples (10)") &&
                                   Contains(".thresholds = 200 keeps a table of counts instead"));
  roc.reset();
  update();
  CHECK(roc.update_count() == 1);
}

TEST_CASE("metrics: states that are not this metric's", "[unit][worker][metrics]") {
  Accuracy accuracy({.num_classes = 3, .average = Average::kMacro});
  auto states = accuracy.state_dict();
  states["tp"] = torch::zeros({4}, torch::kInt64);
  states.erase("fn");
  states["extra"] = torch::zeros({});
  CHECK_THAT(error_of([&] { accuracy.load_state_dict(states); }),
             Equals("Accuracy.load_state_dict():\n  tp has shape [4], expected [3]\n  fn is missing\n"
                    "  extra is no state of this metric"));
  struct Odd : Metric {
    explicit Odd(const std::string& name) { add_state(name, torch::zeros({}), Reduce::kSum); }
    Odd() { add_state("rows", torch::zeros({2}), Reduce::kCat); }
    MetricOutput value() const override { return torch::zeros({}); }
  };
  CHECK_THAT(error_of([] { Odd("updates"); }), Contains("not \"updates\""));
  CHECK_THAT(error_of([] { Odd("a.b"); }), Contains("without a dot"));
  CHECK_THAT(error_of([] { Odd(); }), Contains("begins without rows"));
}

}  // namespace refusal_test
