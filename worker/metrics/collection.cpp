#include <rtrain/metrics/collection.h>

#include "worker/metrics/shown.h"
#include "worker/runtime/problems.h"

#include <torch/torch.h>

#include <set>
#include <stdexcept>

namespace rtrain::metrics {

MetricCollection::MetricCollection(std::vector<CollectionMember> members, CollectionOptions options)
    : PredictionMetric("MetricCollection"), members_(std::move(members)), options_(std::move(options)) {
  Problems problems;
  problems.expect(!members_.empty(), "there are no metrics");
  std::set<std::string> names;
  for (const auto& [name, metric] : members_) {
    problems.expect(metric != nullptr, "the metric \"" + name + "\" is a null pointer");
    problems.expect(!name.empty() && name.find('.') == std::string::npos,
                    "\"" + name + "\" is no name for a metric: it takes one letter or more, and no dot");
    problems.expect(names.insert(name).second, "there are two metrics \"" + name + "\"");
  }
  problems.throw_if_any(this->name());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto key = members_[i].metric->update_key();
    std::size_t leader = i;
    for (std::size_t k = 0; k < i && leader == i && !key.empty(); ++k)
      if (members_[k].metric->update_key() == key) leader = leader_[k];
    leader_.push_back(leader);
  }
}

MetricCollection::MetricCollection(MetricCollection&&) noexcept = default;
MetricCollection::~MetricCollection() = default;

const PredictionMetric& MetricCollection::at(const std::string& name) const {
  std::string names;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    names += (names.empty() ? "" : ", ") + members_[i].name;
    if (members_[i].name != name) continue;
    if (leader_[i] != i) share(*members_[leader_[i]].metric, *members_[i].metric);
    return *members_[i].metric;
  }
  throw std::out_of_range("MetricCollection: there is no metric \"" + name + "\", only: " + names);
}

std::size_t MetricCollection::groups() const { return std::set(leader_.begin(), leader_.end()).size(); }

void MetricCollection::reset() {
  for (const auto& [name, metric] : members_) metric->reset();
  PredictionMetric::reset();
}

void MetricCollection::add(const torch::Tensor& preds, const torch::Tensor& target) {
  for (std::size_t i = 0; i < members_.size(); ++i)
    if (leader_[i] == i) members_[i].metric->update(preds, target);
}

MetricOutput MetricCollection::value() const {
  MetricOutput::Named all;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto& [name, metric] = members_[i];
    if (leader_[i] != i) share(*members_[leader_[i]].metric, *metric);
    for (const auto& [own, tensor] : value_of(*metric).all())
      all.emplace_back(options_.prefix + name + (own.empty() ? "" : "_" + own) + options_.postfix, tensor);
  }
  return all;
}

Metric::Stores MetricCollection::stores() const {
  Stores all;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (leader_[i] != i) continue;
    for (const auto& [prefix, store] : stores_of(*members_[i].metric))
      all.emplace_back(members_[i].name + "." + prefix, store);
  }
  return all;
}

Classwise::Classwise(std::shared_ptr<PredictionMetric> metric, std::vector<std::string> labels)
    : PredictionMetric("Classwise"), metric_(std::move(metric)), labels_(std::move(labels)) {
  Problems problems;
  problems.expect(metric_ != nullptr, "the metric is a null pointer");
  std::set<std::string> seen;
  for (const auto& label : labels_)
    problems.expect(seen.insert(label).second, "there are two labels \"" + label + "\"");
  problems.throw_if_any(name());
}

Classwise::Classwise(Classwise&&) noexcept = default;
Classwise::~Classwise() = default;

void Classwise::reset() {
  metric_->reset();
  PredictionMetric::reset();
}

void Classwise::add(const torch::Tensor& preds, const torch::Tensor& target) {
  metric_->update(preds, target);
}

MetricOutput Classwise::value() const {
  const torch::Tensor values = value_of(*metric_).tensor();
  if (values.dim() != 1)
    throw std::logic_error("Classwise: " + metric_->name() + " gives a tensor of shape " + shape_of(values) +
                           ", not a value a class: its average must be kNone");
  if (!labels_.empty() && static_cast<std::int64_t>(labels_.size()) != values.size(0))
    throw std::logic_error("Classwise: there are " + std::to_string(labels_.size()) + " labels for " +
                           std::to_string(values.size(0)) + " classes");
  MetricOutput::Named all;
  for (std::int64_t i = 0; i < values.size(0); ++i)
    all.emplace_back(labels_.empty() ? std::to_string(i) : labels_[static_cast<std::size_t>(i)], values[i]);
  return all;
}

Metric::Stores Classwise::stores() const { return stores_of(*metric_); }

}  // namespace rtrain::metrics
