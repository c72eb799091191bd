#include "worker/metrics/store.h"

#include "worker/metrics/shown.h"

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>

namespace rtrain::detail {
namespace {

std::int64_t updates_of(const std::string& prefix, const MetricStates& states) {
  return states.at(prefix + kUpdates).item<std::int64_t>();
}

torch::Tensor joined(const torch::Tensor& a, const torch::Tensor& b) {
  const auto type = a.size(0) == 0   ? b.scalar_type()
                    : b.size(0) == 0 ? a.scalar_type()
                                     : torch::promote_types(a.scalar_type(), b.scalar_type());
  return torch::cat({a.to(type), b.to(a.device(), type)});
}

}  // namespace

void MetricState::consolidate() {
  if (parts.empty()) return;
  auto type = value.size(0) > 0 ? value.scalar_type() : parts.front().scalar_type();
  for (const auto& part : parts) type = torch::promote_types(type, part.scalar_type());
  std::vector<torch::Tensor> all;
  if (value.size(0) > 0) all.push_back(value.to(type));
  for (const auto& part : parts) all.push_back(part.to(type));
  value = all.size() == 1 ? all.front() : torch::cat(all);
  parts.clear();
}

void MetricStore::reset() {
  for (auto& state : states) state.reset();
  updates = 0;
}

void MetricStore::consolidate() {
  for (auto& state : states) state.consolidate();
}

void MetricStore::write(const std::string& prefix, MetricStates& to) const {
  for (const auto& state : states) to.insert_or_assign(prefix + state.name, state.value.detach());
  to.insert_or_assign(prefix + kUpdates, torch::scalar_tensor(updates, torch::kInt64));
}

void MetricStore::read(const std::string& prefix, const MetricStates& from) {
  for (auto& state : states) {
    const auto& given = from.at(prefix + state.name);
    const auto type =
        state.reduce == Metric::Reduce::kCat ? given.scalar_type() : state.initial.scalar_type();
    state.value = given.detach().to(state.initial.device(), type);
    state.parts.clear();
  }
  updates = updates_of(prefix, from);
}

void MetricStore::check(const std::string& prefix, const MetricStates& from,
                        std::vector<std::string>& problems) const {
  const auto found = [&](const std::string& name) -> const torch::Tensor* {
    const auto it = from.find(prefix + name);
    if (it != from.end() && it->second.defined()) return &it->second;
    problems.push_back(prefix + name + " is missing");
    return nullptr;
  };
  for (const auto& state : states) {
    const auto* given = found(state.name);
    if (given == nullptr) continue;
    const bool fits = state.reduce == Metric::Reduce::kCat ? rows_alike(*given, state.initial)
                                                           : given->sizes() == state.initial.sizes();
    if (!fits)
      problems.push_back(prefix + state.name + " has shape " + metrics::shape_of(*given) + ", expected " +
                         (state.reduce == Metric::Reduce::kCat ? "rows as of " : "") +
                         metrics::shape_of(state.initial));
  }
  if (const auto* given = found(kUpdates); given != nullptr && given->numel() != 1)
    problems.push_back(prefix + kUpdates + " has shape " + metrics::shape_of(*given) +
                       ", expected one number");
}

MetricStates merge_states(const MetricStore& store, const std::string& prefix, const MetricStates& a,
                          const MetricStates& b) {
  const torch::NoGradGuard no_grad;
  const auto updates_a = updates_of(prefix, a), updates_b = updates_of(prefix, b);
  MetricStates result, merge_a, merge_b;
  for (const auto& state : store.states) {
    const auto name = prefix + state.name;
    const auto &x = a.at(name), &y = b.at(name);
    switch (state.reduce) {
      case Metric::Reduce::kSum: result[name] = x + y; break;
      case Metric::Reduce::kMin: result[name] = torch::minimum(x, y); break;
      case Metric::Reduce::kMax: result[name] = torch::maximum(x, y); break;
      case Metric::Reduce::kCat: result[name] = joined(x, y); break;
      case Metric::Reduce::kMean: {
        const auto all = static_cast<double>(updates_a + updates_b);
        result[name] =
            all == 0
                ? x
                : (x * (static_cast<double>(updates_a) / all) + y * (static_cast<double>(updates_b) / all));
        break;
      }
      case Metric::Reduce::kMerge:
        merge_a[state.name] = x;
        merge_b[state.name] = y;
        break;
    }
  }
  if (!merge_a.empty()) {
    if (store.merge == nullptr)
      throw std::logic_error(
          "the metric has states of Reduce::kMerge and no function to merge them: call "
          "set_merge() in its constructor");
    for (auto& [name, tensor] : store.merge(merge_a, merge_b)) result[prefix + name] = tensor;
  }
  result[prefix + kUpdates] = torch::scalar_tensor(updates_a + updates_b, torch::kInt64);
  return result;
}

bool rows_alike(const torch::Tensor& a, const torch::Tensor& b) {
  return a.dim() == b.dim() && a.dim() > 0 && a.sizes().slice(1) == b.sizes().slice(1);
}

}  // namespace rtrain::detail
