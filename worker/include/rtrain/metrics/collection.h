// Metrics of metrics.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::metrics {

/// A metric with its name; by value, or shared with who wants to look at it alone.
struct RTRAIN_API CollectionMember {
  std::string name;
  std::shared_ptr<PredictionMetric> metric;
  template <std::derived_from<PredictionMetric> M>
  CollectionMember(std::string given, M value)
      : name(std::move(given)), metric(std::make_shared<M>(std::move(value))) {}
  CollectionMember(std::string given, std::shared_ptr<PredictionMetric> shared)
      : name(std::move(given)), metric(std::move(shared)) {}
};
/// What stands before and after each name of the outputs.
struct RTRAIN_API CollectionOptions {
  std::string prefix{}, postfix{};
};

/// Several metrics of the same predictions. The output has the names prefix + name + postfix; of a member
/// with named outputs prefix + name + "_" + its name + postfix. Members whose states are equal by their
/// options (Precision and Recall of the same task and average) are updated and synced once. A shared member
/// is updated by the collection only.
class RTRAIN_API MetricCollection : public PredictionMetric {
 public:
  /// @throws std::invalid_argument no members, a null pointer, an empty name, one with a dot, or twice.
  explicit MetricCollection(std::vector<CollectionMember> members, CollectionOptions options = {});
  MetricCollection(MetricCollection&&) noexcept;
  ~MetricCollection() override;
  /// @throws std::out_of_range no such member.
  [[nodiscard]] const PredictionMetric& at(const std::string& name) const;
  void reset() override;
  /// How many metrics are updated, after those with equal states are put together.
  [[nodiscard]] std::size_t groups() const;

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;
  [[nodiscard]] Stores stores() const override;

 private:
  std::vector<CollectionMember> members_;
  std::vector<std::size_t> leader_;  // by member: who is updated for it; itself, or one before it
  CollectionOptions options_;
};

/// The values of a metric that gives one a class, under names: labels, or the numbers of the classes. log()
/// and a collection put their name before them: "acc_cat", "acc_dog".
class RTRAIN_API Classwise : public PredictionMetric {
 public:
  template <std::derived_from<PredictionMetric> M>
  explicit Classwise(M metric, std::vector<std::string> labels = {})
      : Classwise(std::shared_ptr<PredictionMetric>(std::make_shared<M>(std::move(metric))),
                  std::move(labels)) {}
  /// @throws std::invalid_argument a null pointer, or a label twice.
  explicit Classwise(std::shared_ptr<PredictionMetric> metric, std::vector<std::string> labels = {});
  Classwise(Classwise&&) noexcept;
  ~Classwise() override;
  void reset() override;
  [[nodiscard]] std::string update_key() const override { return metric_->update_key(); }

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  /// @throws std::logic_error the metric gives no vector, or one of another length than the labels.
  [[nodiscard]] MetricOutput value() const override;
  [[nodiscard]] Stores stores() const override;

 private:
  std::shared_ptr<PredictionMetric> metric_;
  std::vector<std::string> labels_;
};

}  // namespace rtrain::metrics
