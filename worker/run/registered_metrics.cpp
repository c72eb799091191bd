#include "worker/run/registered_metrics.h"

#include <rtrain/metrics/sync.h>

#include <algorithm>
#include <stdexcept>

namespace rtrain {
namespace {

/// The collectives of a strategy.
class OverRanks final : public MetricSync {
 public:
  explicit OverRanks(Strategy& strategy) : strategy_(strategy) {}
  [[nodiscard]] torch::Device device() const override { return strategy_.device(); }
  void all_reduce(torch::Tensor& tensor, Op op) override {
    strategy_.reduce(tensor, op == Op::kSum   ? Strategy::Reduce::kSum
                             : op == Op::kMin ? Strategy::Reduce::kMin
                                              : Strategy::Reduce::kMax);
  }
  std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor) override {
    return strategy_.mesh().loss_group().all_gather(tensor);  // the others have the same data
  }

 private:
  Strategy& strategy_;
};

std::vector<RegisteredMetrics::Shown> shown(const std::string& name, const MetricOutput& output,
                                            std::optional<std::int64_t> loader, const char* fork,
                                            const LogOptions& options) {
  std::vector<RegisteredMetrics::Shown> all;
  const auto suffix =
      loader && options.add_dataloader_idx ? "/dataloader_idx_" + std::to_string(*loader) : std::string();
  const bool forked = *options.on_step && *options.on_epoch;
  for (const auto& [own, tensor] : output.all()) {
    if (tensor.numel() != 1)
      throw std::logic_error(
          "log(\"" + name + "\"): the metric's output " + (own.empty() ? "" : "\"" + own + "\" ") + "has " +
          std::to_string(tensor.numel()) + " elements, expected 1: take an average, or a Classwise");
    const auto base = name.empty() || own.empty() ? name + own : name + "_" + own;
    if (base.empty()) throw std::logic_error("log(\"\"): a metric with one output needs a name");
    auto value = tensor.detach().reshape({});
    if (value.scalar_type() != torch::kFloat64) value = value.to(torch::kFloat32);
    all.push_back({base + suffix, base + (forked ? fork : "") + suffix, MetricValue{value}, options});
  }
  return all;
}

}  // namespace

void RegisteredMetrics::log(Hook hook, std::optional<std::int64_t> loader, const std::string& name,
                            Metric& metric, const LogOptions& options) {
  auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.hook == hook && e.loader == loader && e.name == name;
  });
  if (entry == entries_.end()) {
    entry = entries_.insert(entries_.end(), Entry{hook, loader, name, &metric, options});
  } else if (entry->metric != &metric || entry->options.on_step != options.on_step ||
             entry->options.on_epoch != options.on_epoch) {
    throw std::logic_error("log(\"" + name +
                           "\"): called twice in the same hook with another metric or other options");
  }
  if (*options.on_step) {
    const auto& value = metric.batch_value();
    if (!value)
      throw std::logic_error("log(\"" + name + "\"): on_step is the value of the batch, and " +
                             metric.name() +
                             " has none: call metric(preds, target) and not update(), or log it with "
                             "{.on_step = false, .on_epoch = true}");
    entry->step = shown(name, *value, loader, "_step", options);
  }
  entry->is_due = *options.on_epoch;
}

std::vector<std::string> RegisteredMetrics::due(std::optional<std::int64_t> loader) const {
  std::vector<std::string> names;
  for (const auto& entry : entries_)
    if (entry.is_due && entry.loader == loader)
      names.push_back(std::string(name_of(entry.hook)) + "." + entry.name);
  return names;
}

void RegisteredMetrics::compute(std::optional<std::int64_t> loader, Strategy& strategy) {
  std::vector<Entry*> due;
  std::vector<Metric*> metrics;
  for (auto& entry : entries_) {
    if (!entry.is_due || entry.loader != loader) continue;
    entry.is_due = false;
    due.push_back(&entry);
    metrics.push_back(entry.metric);
  }
  if (due.empty()) return;
  const torch::NoGradGuard no_grad;
  std::vector<MetricOutput> values;
  if (strategy.is_distributed()) {
    OverRanks ranks(strategy);
    values = compute_synced(metrics, ranks);
  } else {
    for (const auto* metric : metrics) values.push_back(metric->compute());
  }
  for (std::size_t i = 0; i < due.size(); ++i)
    due[i]->epoch = shown(due[i]->name, values[i], loader, "_epoch", due[i]->options);
  // The next loader's data is not this one's.
  if (loader)
    for (auto* metric : metrics) metric->reset();
}

void RegisteredMetrics::for_each(std::optional<std::int64_t> loader, bool on_step,
                                 const std::function<void(const Shown&)>& visit) const {
  for (const auto& entry : entries_) {
    if (entry.loader != loader) continue;
    for (const auto& one : on_step ? entry.step : entry.epoch) visit(one);
  }
}

void RegisteredMetrics::reset() {
  for (auto& entry : entries_) {
    if (entry.is_due || !entry.epoch.empty() || !entry.step.empty()) entry.metric->reset();
    entry.is_due = false;
    entry.step.clear();
    entry.epoch.clear();
  }
}

void RegisteredMetrics::reset(Hook hook, std::optional<std::int64_t> loader) {
  for (auto& entry : entries_) {
    if (entry.hook != hook || entry.loader != loader) continue;
    entry.is_due = false;
    entry.step.clear();
    entry.epoch.clear();
  }
}

}  // namespace rtrain
