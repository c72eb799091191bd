#include "tests/support/catch.h"
#include "tests/unit/worker/metrics/fake_ranks.h"
#include "tests/unit/worker/metrics/many.h"

namespace sync_test {

using namespace rtrain;
using namespace rtrain::metrics;
using Catch::Matchers::Contains;

namespace {

using Given = std::pair<torch::Tensor, torch::Tensor>;

/// A value of each Reduce.
struct AllRules : Metric {
  AllRules() : Metric("AllRules") {}
  torch::Tensor& sum = add_state("sum", torch::zeros({2}), Reduce::kSum);
  torch::Tensor& mean = add_state("mean", torch::zeros({}), Reduce::kMean);
  torch::Tensor& min = add_state("min", torch::full({}, 1e9), Reduce::kMin);
  torch::Tensor& max = add_state("max", torch::full({}, -1e9), Reduce::kMax);
  torch::Tensor& cat = add_state("cat", torch::zeros({0, 2}), Reduce::kCat);
  void update(double value) {
    sum = sum + value;
    mean = mean + (value - mean) / (update_count() + 1);
    min = torch::minimum(min, torch::full({}, value));
    max = torch::maximum(max, torch::full({}, value));
    append(cat, torch::full({1, 2}, value));
    count_update();
  }
  MetricOutput value() const override {
    return MetricOutput::Named{{"sum", sum}, {"mean", mean}, {"min", min}, {"max", max}, {"cat", cat}};
  }
};

}  // namespace

TEST_CASE("metrics sync: ranks with parts of the data are one rank with all of it",
          "[unit][worker][metrics]") {
  torch::manual_seed(3);
  for (const int world : {1, 2, 3}) {
    for (const auto& kind : test::all_kinds()) {
      INFO(kind.name << " on " << world << " ranks");
      // Uneven: in size, and in number; the last of three ranks gets nothing.
      std::vector<std::vector<Given>> parts(static_cast<std::size_t>(world));
      const std::vector<std::vector<std::int64_t>> sizes{{5, 8, 1}, {7}, {}};
      const auto whole = kind.make();
      std::vector<std::unique_ptr<PredictionMetric>> own;
      for (std::size_t rank = 0; rank < parts.size(); ++rank) {
        own.push_back(kind.make());
        for (const auto size : sizes[rank]) {
          const auto [preds, target] = kind.batch(size);
          whole->update(preds, target);
          own.back()->update(preds, target);
        }
      }
      std::vector<MetricStates> before;
      for (const auto& metric : own) before.push_back(metric->state_dict());
      std::vector<std::optional<MetricOutput>> outputs(parts.size());
      test::FakeRanks ranks(world);
      const auto errors = ranks.run([&](int rank, MetricSync& sync) {
        Metric* const metric = own[static_cast<std::size_t>(rank)].get();
        outputs[static_cast<std::size_t>(rank)] = compute_synced({&metric, 1}, sync).front();
      });
      for (std::size_t rank = 0; rank < parts.size(); ++rank) {
        CHECK(errors[rank].empty());
        REQUIRE(outputs[rank]);
        CHECK(test::same(*outputs[rank], whole->compute()));
        CHECK(test::same(own[rank]->state_dict(), before[rank]));  // unsynced
      }
    }
  }
}

TEST_CASE("metrics sync: all metrics share their buffers", "[unit][worker][metrics]") {
  torch::manual_seed(4);
  const auto kinds = test::all_kinds();
  std::vector<std::vector<std::unique_ptr<PredictionMetric>>> own(2);
  for (auto& metrics : own) {
    for (const auto& kind : kinds) {
      metrics.push_back(kind.make());
      const auto [preds, target] = kind.batch(6);
      metrics.back()->update(preds, target);
    }
  }
  test::FakeRanks ranks(2);
  const auto errors = ranks.run([&](int rank, MetricSync& sync) {
    std::vector<Metric*> all;
    for (const auto& metric : own[static_cast<std::size_t>(rank)]) all.push_back(metric.get());
    if (sync_metrics(all, sync).size() != all.size()) throw std::logic_error("a metric is missing");
  });
  CHECK((errors == std::vector<std::string>{"", ""}));
  // The head; counts and sums; rows of three types; Pearson's moments.
  CHECK((ranks.calls() == std::vector<std::string>{"all_gather Long", "all_reduce Long", "all_reduce Double",
                                                   "all_gather Long", "all_gather Float", "all_gather Double",
                                                   "all_gather Double"}));
}

TEST_CASE("metrics sync: each rule, uneven updates, a rank without any", "[unit][worker][metrics]") {
  const std::vector<std::vector<double>> values{{1, 2, 6}, {-5}, {}};
  std::vector<AllRules> own(3);
  AllRules whole;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    for (const auto value : values[rank]) {
      own[rank].update(value);
      whole.update(value);
    }
  }
  std::vector<MetricStates> results(3);
  test::FakeRanks ranks(3);
  const auto errors = ranks.run([&](int rank, MetricSync& sync) {
    Metric* const metric = &own[static_cast<std::size_t>(rank)];
    results[static_cast<std::size_t>(rank)] = sync_metrics({&metric, 1}, sync).front();
  });
  CHECK((errors == std::vector<std::string>{"", "", ""}));
  for (const auto& states : results) {
    CHECK(states.at("updates").item<std::int64_t>() == 4);
    CHECK(test::same(whole.compute(states), whole.compute(), 1e-6));
  }
  CHECK(whole.compute().at("mean").item<float>() == Approx(1));
}

TEST_CASE("metrics sync: no rank has anything", "[unit][worker][metrics]") {
  test::FakeRanks ranks(2);
  const auto errors = ranks.run([&](int, MetricSync& sync) {
    AUROC roc({.num_classes = 3});
    Accuracy accuracy({.num_classes = 3});
    const std::vector<Metric*> all{&roc, &accuracy};
    if (compute_synced(all, sync)[1].item() != 0) throw std::logic_error("not 0");
  });
  CHECK((errors == std::vector<std::string>{"", ""}));
}

TEST_CASE("metrics sync: ranks with other metrics are named, nobody hangs", "[unit][worker][metrics]") {
  test::FakeRanks ranks(2);
  const auto errors = ranks.run([&](int rank, MetricSync& sync) {
    Accuracy accuracy({.num_classes = rank == 0 ? 3 : 4, .average = Average::kMacro});
    Metric* const metric = &accuracy;
    (void)sync_metrics({&metric, 1}, sync);
  });
  CHECK_THAT(errors[0], Contains("the ranks' metrics differ") && Contains("rank(s) 1"));
  CHECK_THAT(errors[1], Contains("rank(s) 0"));
}

}  // namespace sync_test
