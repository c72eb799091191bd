#include "tests/support/catch.h"
#include "tests/unit/worker/metrics/many.h"

namespace collection_test {

using namespace rtrain;
using namespace rtrain::metrics;
using Catch::Matchers::Contains;

namespace {

ClassificationOptions three(Average average) { return {.num_classes = 3, .average = average}; }

}  // namespace

TEST_CASE("metric collection: names, and equal states are updated once", "[unit][worker][metrics]") {
  const auto shared = std::make_shared<Specificity>(three(Average::kMacro));
  MetricCollection collection(
      {{"acc", Accuracy(three(Average::kMicro))},
       {"precision", metrics::Precision(three(Average::kMacro))},
       {"recall", Recall(three(Average::kMacro))},
       {"specificity", shared},
       {"roc", ROC({.num_classes = 3, .thresholds = 3})},
       {"auroc", AUROC({.num_classes = 3, .thresholds = 3})},
       {"recall_of", Classwise(Recall(three(Average::kNone)), {"cat", "dog", "cow"})}},
      {.prefix = "val_", .postfix = "_all"});
  CHECK(collection.groups() == 3);  // micro; macro and none; the curves
  torch::manual_seed(1);
  const auto preds = torch::randn({8, 3});
  const auto target = torch::randint(3, {8}, torch::kInt64);
  collection.update(preds, target);
  const auto output = collection.compute();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : output.all()) names.push_back(name);
  CHECK((names == std::vector<std::string>{"val_acc_all", "val_precision_all", "val_recall_all",
                                           "val_specificity_all", "val_roc_fpr_all", "val_roc_tpr_all",
                                           "val_roc_thresholds_all", "val_auroc_all", "val_recall_of_cat_all",
                                           "val_recall_of_dog_all", "val_recall_of_cow_all"}));
  const auto expected = specificity(preds, target, three(Average::kMacro)).item();
  CHECK(output.at("val_specificity_all").item<double>() == expected);
  CHECK(collection.at("specificity").compute().item() == expected);
  CHECK(shared->compute().item() == expected);
  CHECK(output.at("val_recall_of_dog_all").item<double>() ==
        recall(preds, target, three(Average::kNone)).tensor()[1].item<double>());
  const auto states = collection.state_dict();
  CHECK(states.contains("precision.tp"));
  CHECK_FALSE(states.contains("recall.tp"));
  CHECK_THROWS_WITH(collection.at("f1"), Contains("there is no metric \"f1\", only: acc, precision"));
  CHECK_THROWS_WITH(output.at("acc"), Contains("there are: val_acc_all"));
  CHECK_THROWS_WITH(output.item(), Contains("several outputs"));
}

TEST_CASE("metric collection: refusals", "[unit][worker][metrics]") {
  CHECK_THROWS_WITH(MetricCollection({}), Contains("there are no metrics"));
  CHECK_THROWS_WITH(MetricCollection({{"a.b", Accuracy(three(Average::kMicro))},
                                      {"x", std::shared_ptr<PredictionMetric>()},
                                      {"y", Accuracy(three(Average::kMicro))},
                                      {"y", Recall(three(Average::kMicro))}}),
                    Contains("\"a.b\" is no name") || Contains("null pointer"));
  Classwise labels(Recall(three(Average::kNone)), {"a", "b"});
  const auto target = torch::tensor({0, 1, 2});
  labels.update(target, target);
  CHECK_THROWS_WITH(labels.compute(), Contains("2 labels for 3 classes"));
  Classwise mean(Recall(three(Average::kMacro)));
  mean.update(target, target);
  CHECK_THROWS_WITH(mean.compute(), Contains("its average must be kNone"));
}

}  // namespace collection_test
