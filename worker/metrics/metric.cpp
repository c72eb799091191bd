#include <rtrain/metrics/metric.h>

#include "worker/metrics/shown.h"
#include "worker/metrics/store.h"
#include "worker/run/warn.h"
#include "worker/runtime/problems.h"

#include <torch/torch.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

std::string names_of(const MetricOutput::Named& all) {
  std::string text;
  for (const auto& [name, tensor] : all) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

torch::Tensor MetricOutput::tensor() const {
  if (named_)
    throw std::logic_error("the metric has several outputs, take one by at(name): " + names_of(all_));
  return all_.front().second;
}

torch::Tensor MetricOutput::at(const std::string& name) const {
  for (const auto& [own, tensor] : all_)
    if (own == name) return tensor;
  throw std::out_of_range("the metric has no output \"" + name +
                          "\"; there are: " + (named_ ? names_of(all_) : "one without a name, tensor()"));
}

double MetricOutput::item() const {
  const auto value = tensor();
  if (value.numel() != 1)
    throw std::logic_error("the metric is a tensor of shape " + metrics::shape_of(value) +
                           ", not a number: take tensor(), or another average");
  return value.item<double>();
}

Metric::Metric(std::string name) : name_(std::move(name)), own_(std::make_unique<detail::MetricStore>()) {}
Metric::~Metric() = default;
Metric::Metric(Metric&&) noexcept = default;

Metric::Stores Metric::stores() const { return {{"", own_.get()}}; }

void Metric::reset() {
  for (auto& [prefix, store] : stores()) store->reset();
  batch_value_.reset();
}

std::int64_t Metric::update_count() const {
  std::int64_t count = 0;
  for (const auto& [prefix, store] : stores()) count = std::max(count, store->updates);
  return count;
}

MetricOutput Metric::compute() const {
  const torch::NoGradGuard no_grad;
  for (auto& [prefix, store] : stores()) store->consolidate();
  if (!updated() && !std::exchange(own_->warned, true))
    warn(name_ + ".compute(): there was no update since reset(); the value is that of no data");
  return value();
}

namespace {

/// Puts the states of before back.
class Kept {
 public:
  explicit Kept(std::vector<detail::MetricStore*> stores) : stores_(std::move(stores)) {
    for (const auto* store : stores_) kept_.push_back(*store);
  }
  ~Kept() {
    // Value by value: references to them are out there.
    for (std::size_t i = 0; i < stores_.size(); ++i) {
      for (std::size_t k = 0; k < kept_[i].states.size(); ++k) {
        stores_[i]->states[k].value = std::move(kept_[i].states[k].value);
        stores_[i]->states[k].parts = std::move(kept_[i].states[k].parts);
      }
      stores_[i]->updates = kept_[i].updates;
    }
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

 private:
  std::vector<detail::MetricStore*> stores_;
  std::vector<detail::MetricStore> kept_;
};

std::vector<detail::MetricStore*> pointers(
    const std::vector<std::pair<std::string, detail::MetricStore*>>& stores) {
  std::vector<detail::MetricStore*> all;
  for (const auto& [prefix, store] : stores) all.push_back(store);
  return all;
}

}  // namespace

MetricOutput Metric::compute(const MetricStates& states) const {
  const Kept kept(pointers(stores()));
  const_cast<Metric*>(this)->load_state_dict(states);  // NOLINT: put back by `kept`
  return compute();
}

void Metric::to(torch::Device device) {
  for (auto& [prefix, store] : stores()) {
    for (auto& state : store->states) {
      state.initial = state.initial.to(device);
      state.value = state.value.to(device);
      for (auto& part : state.parts) part = part.to(device);
    }
  }
}

torch::Device Metric::device() const {
  for (const auto& [prefix, store] : stores())
    if (!store->states.empty()) return store->states.front().initial.device();
  return torch::kCPU;
}

MetricStates Metric::state_dict() const {
  MetricStates states;
  for (const auto& [prefix, store] : stores()) {
    store->consolidate();
    store->write(prefix, states);
  }
  return states;
}

void Metric::load_state_dict(const MetricStates& states) {
  const auto all = stores();
  std::vector<std::string> problems;
  std::set<std::string> known;
  for (const auto& [prefix, store] : all) {
    store->check(prefix, states, problems);
    for (const auto& state : store->states) known.insert(prefix + state.name);
    known.insert(prefix + detail::kUpdates);
  }
  for (const auto& [name, tensor] : states)
    if (!known.contains(name)) problems.push_back(name + " is no state of this metric");
  Problems told;
  for (auto& problem : problems) told.add(std::move(problem));
  told.throw_if_any(name_ + ".load_state_dict()");
  for (const auto& [prefix, store] : all) store->read(prefix, states);
}

MetricStates Metric::merged(const MetricStates& a, const MetricStates& b) const {
  MetricStates result;
  for (const auto& [prefix, store] : stores()) {
    std::vector<std::string> problems;
    store->check(prefix, a, problems);
    store->check(prefix, b, problems);
    Problems told;
    for (auto& problem : problems) told.add(std::move(problem));
    told.throw_if_any(name_ + ".merged()");
    result.merge(detail::merge_states(*store, prefix, a, b));
  }
  return result;
}

torch::Tensor& Metric::add_state(const std::string& name, torch::Tensor initial, Reduce reduce) {
  const auto at = name_ + ".add_state(\"" + name + "\"): ";
  if (name.empty() || name == detail::kUpdates || name.find('.') != std::string::npos)
    throw std::logic_error(at + "a state needs a name without a dot that is not \"updates\"");
  for (const auto& state : own_->states)
    if (state.name == name) throw std::logic_error(at + "there is a state of this name already");
  if (!initial.defined()) throw std::logic_error(at + "the initial value is an undefined tensor");
  if (reduce == Reduce::kCat && (initial.dim() == 0 || initial.size(0) != 0))
    throw std::logic_error(at +
                           "a state of Reduce::kCat begins without rows, as torch::empty({0}); this has " +
                           "shape " + metrics::shape_of(initial));
  initial = initial.detach().clone();
  return own_->states.emplace_back(detail::MetricState{name, initial, reduce, initial, {}}).value;
}

void Metric::append(const torch::Tensor& state, torch::Tensor rows) {
  for (auto& own : own_->states) {
    if (&own.value != &state) continue;
    if (!detail::rows_alike(rows, own.initial))
      throw std::invalid_argument(name_ + ": rows of shape " + metrics::shape_of(rows) +
                                  " cannot be appended to \"" + own.name + "\", whose rows are those of " +
                                  metrics::shape_of(own.initial));
    if (rows.size(0) > 0) own.parts.push_back(rows.detach());
    return;
  }
  throw std::logic_error(name_ + ".append(): this tensor is not what add_state() returned");
}

void Metric::set_merge(MetricMerge merge) { own_->merge = merge; }
void Metric::count_update() { ++own_->updates; }

MetricOutput Metric::keep_batch_value(MetricOutput value) {
  batch_value_ = value;
  return value;
}

MetricOutput Metric::forward(const std::function<void()>& update) {
  const auto all = stores();
  const bool first = !updated();
  const auto before = state_dict();
  for (const auto& [prefix, store] : all) store->reset();
  try {
    update();
  } catch (...) {
    for (const auto& [prefix, store] : all) store->read(prefix, before);
    throw;
  }
  auto output = compute();
  if (!first) {
    const auto joined = merged(before, state_dict());
    for (const auto& [prefix, store] : all) store->read(prefix, joined);
  }
  return keep_batch_value(std::move(output));
}

void Metric::share(const Metric& from, Metric& to) {
  const auto a = from.stores(), b = to.stores();
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i].second->consolidate();
    for (std::size_t k = 0; k < a[i].second->states.size(); ++k) {
      b[i].second->states[k].value = a[i].second->states[k].value;
      b[i].second->states[k].parts.clear();
    }
    b[i].second->updates = a[i].second->updates;
  }
}

void PredictionMetric::update(const torch::Tensor& preds, const torch::Tensor& target) {
  Problems problems;
  const auto look = [&](const char* what, const torch::Tensor& tensor) {
    if (!tensor.defined()) {
      problems.add(std::string(what) + " is an undefined tensor");
    } else if (tensor.device() != device()) {
      problems.add(std::string(what) + " is on " + tensor.device().str() + ", the metric on " +
                   device().str() + ": move one of them with to(device)");
    }
  };
  look("preds", preds);
  look("target", target);
  problems.throw_if_any(name() + ".update()");
  if (preds.numel() > 0 || target.numel() > 0) {
    const torch::NoGradGuard no_grad;
    add(preds.detach(), target.detach());
  }
  count_update();
}

MetricOutput PredictionMetric::operator()(const torch::Tensor& preds, const torch::Tensor& target) {
  return forward([&] { update(preds, target); });
}

}  // namespace rtrain
