#include "worker/run/metrics.h"

#include "worker/run/read_together.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

bool syncs(const LogOptions& options, const Strategy& strategy) {
  return options.sync_dist && !options.rank_zero_only && strategy.is_distributed();
}

torch::Tensor as_tensor(const MetricValue& value, torch::Device device) {
  return value.tensor.defined()
             ? value.tensor
             : torch::scalar_tensor(value.number, torch::dtype(torch::kFloat64).device(device));
}

bool same(const LogOptions& a, const LogOptions& b) {
  return a.on_step == b.on_step && a.on_epoch == b.on_epoch && a.prog_bar == b.prog_bar &&
         a.logger == b.logger && a.reduce_fx == b.reduce_fx && a.sync_dist == b.sync_dist &&
         a.rank_zero_only == b.rank_zero_only && a.add_dataloader_idx == b.add_dataloader_idx;
}

constexpr const char* kLoaderMark = "/dataloader_idx_";

/// Both tensors, or both numbers: the accumulator follows what is logged.
void make_alike(MetricValue& a, MetricValue& b) {
  if (a.tensor.defined() == b.tensor.defined()) return;
  if (a.tensor.defined()) {
    b.tensor = as_tensor(b, a.tensor.device());
  } else {
    a.tensor = as_tensor(a, b.tensor.device());
  }
}

void accumulate(MetricValue& total, MetricValue value, ReduceFx fx, double weight) {
  make_alike(total, value);
  if (!total.tensor.defined()) {
    switch (fx) {
      case ReduceFx::kMean: total.number += value.number * weight; return;
      case ReduceFx::kSum: total.number += value.number; return;
      case ReduceFx::kMin: total.number = std::min(total.number, value.number); return;
      case ReduceFx::kMax: total.number = std::max(total.number, value.number); return;
    }
  }
  const bool in_place = total.tensor.scalar_type() == value.tensor.scalar_type() &&
                        total.tensor.device() == value.tensor.device();
  switch (fx) {
    case ReduceFx::kMean:
    case ReduceFx::kSum: {
      const auto factor = fx == ReduceFx::kMean ? weight : 1.0;
      total.tensor = in_place ? total.tensor.add_(value.tensor, factor)
                              : total.tensor.to(value.tensor.device()).add(value.tensor, factor);
      return;
    }
    case ReduceFx::kMin: total.tensor = torch::minimum(total.tensor, value.tensor); return;
    case ReduceFx::kMax: total.tensor = torch::maximum(total.tensor, value.tensor); return;
  }
}

std::string key_of(Hook hook, const std::string& name) {
  return std::string(facts_of(hook).name) + "." + name;
}

std::map<std::string, double> items(const MetricValues& values) {
  std::vector<torch::Tensor> tensors;
  for (const auto& [name, value] : values)
    if (value.tensor.defined()) tensors.push_back(value.tensor);
  const auto numbers = read_together(tensors);
  std::map<std::string, double> result;
  auto next = numbers.begin();
  for (const auto& [name, value] : values)
    result.emplace(name, value.tensor.defined() ? *next++ : value.number);
  return result;
}

}  // namespace

double MetricValue::item() const { return tensor.defined() ? tensor.item<double>() : number; }

void LoggedMetrics::log(Hook hook, const std::string& name, MetricValue value, const LogOptions& options,
                        std::int64_t batch_size, Strategy& strategy) {
  if (options.add_dataloader_idx && name.find(kLoaderMark) != std::string::npos)
    throw std::logic_error("log(\"" + name + "\"): the Trainer adds \"" + kLoaderMark +
                           "<number>\" itself; leave it out, or set add_dataloader_idx = false");
  const auto own = [&](const Entry& e) {
    return e.hook == hook && e.name == name && (e.loader == loader_ || !options.add_dataloader_idx);
  };
  auto entry = std::find_if(entries_.begin(), entries_.end(), own);
  if (entry == entries_.end()) {
    const bool forked = *options.on_step && *options.on_epoch;
    const auto suffix =
        loader_ && options.add_dataloader_idx ? kLoaderMark + std::to_string(*loader_) : std::string();
    entries_.push_back({hook, loader_, name, name + suffix, name + (forked ? "_step" : "") + suffix,
                        name + (forked ? "_epoch" : "") + suffix, options});
    entry = std::prev(entries_.end());
  } else if (entry->loader != loader_) {
    throw std::logic_error("log(\"" + name +
                           "\"): several loaders log it with add_dataloader_idx = false, and their values "
                           "would be mixed; give each loader's a name of its own");
  } else if (!same(entry->options, options)) {
    throw std::logic_error("log(\"" + name + "\"): called twice in the same hook with different options");
  }
  if (value.tensor.defined()) {
    // A value that autograd made is nobody's to change; any other may be a buffer that the next step changes
    // in place.
    value.tensor = value.tensor.grad_fn() != nullptr ? value.tensor.detach() : value.tensor.detach().clone();
    if (value.tensor.dim() != 0) value.tensor = value.tensor.reshape({});
    if (value.tensor.scalar_type() != torch::kFloat32 && value.tensor.scalar_type() != torch::kFloat64)
      value.tensor = value.tensor.to(torch::kFloat32);
  }
  bool first = entry->is_reset;
  entry->is_reset = false;
  entry->in_step = true;
  entry->step_weight = 1;
  entry->computed.reset();
  if (*options.on_step) {
    entry->step = value;
    entry->step_is_due = syncs(options, strategy);
  }
  if (!*options.on_epoch) return;
  const auto weight = static_cast<double>(options.batch_size.value_or(batch_size));
  if (first && !resumed_.empty()) {
    if (const auto found = resumed_.extract(key_of(hook, name))) {
      const auto* sums = found.mapped().const_data_ptr<double>();
      const bool is_float = sums[2] != 0, is_double = sums[3] != 0;
      entry->total =
          is_float || is_double
              ? MetricValue{torch::scalar_tensor(sums[0], is_double ? torch::kFloat64 : torch::kFloat32)}
              : MetricValue{{}, sums[0]};
      entry->weight = sums[1];
      first = false;
    }
  }
  if (first) {
    entry->total = value;
    if (options.reduce_fx == ReduceFx::kMean) {
      if (value.tensor.defined()) entry->total.tensor = value.tensor * weight;
      entry->total.number = value.number * weight;
    } else if (value.tensor.defined()) {
      entry->total.tensor = value.tensor.clone();  // `step` may share it
    }
    entry->weight = weight;
  } else {
    accumulate(entry->total, std::move(value), options.reduce_fx, weight);
    entry->weight += weight;
  }
}

namespace {

/// As this rank would have it: a tensor of the value's type, or a number where that costs no wait for a
/// device.
MetricValue like(const MetricValue& own, const torch::Tensor& reduced) {
  if (own.tensor.defined()) return {reduced.to(own.tensor.scalar_type())};
  return reduced.is_cpu() ? MetricValue{{}, reduced.item<double>()} : MetricValue{reduced};
}

std::string part_name(Hook hook, const std::string& name) { return name + " in " + name_of(hook); }

}  // namespace

void LoggedMetrics::reduce_step(Strategy& strategy, bool meets) {
  if (!strategy.is_distributed()) return;
  std::vector<Entry*> due;
  std::vector<MetricPart> parts;
  for (auto& entry : entries_) {
    entry.in_step = false;
    if (!std::exchange(entry.step_is_due, false)) continue;
    due.push_back(&entry);
    parts.push_back({part_name(entry.hook, entry.full), entry.options.reduce_fx, entry.step.tensor,
                     entry.step.number, entry.step_weight});
  }
  if (due.empty() && !(meets && step_reduction_.in_use())) return;
  const auto results = step_reduction_.run(parts, /*check=*/false, strategy);
  for (std::size_t i = 0; i < due.size(); ++i) due[i]->step = like(due[i]->step, results[i]);
}

nlohmann::json LoggedMetrics::logged_in_step() const {
  auto list = nlohmann::json::array();
  for (const auto& entry : entries_) {
    if (!entry.in_step || entry.loader != loader_) continue;
    const auto& o = entry.options;
    list.push_back({{"hook", name_of(entry.hook)},
                    {"name", entry.name},
                    {"on_step", *o.on_step},
                    {"on_epoch", *o.on_epoch},
                    {"prog_bar", o.prog_bar},
                    {"logger", o.logger},
                    {"reduce_fx", static_cast<int>(o.reduce_fx)},
                    {"sync_dist", o.sync_dist},
                    {"rank_zero_only", o.rank_zero_only},
                    {"add_dataloader_idx", o.add_dataloader_idx}});
  }
  return {{"values", std::move(list)}, {"objects", registered_.due(loader_)}};
}

void LoggedMetrics::log_without_batch(const nlohmann::json& logged, Strategy& strategy) {
  const auto own_objects = registered_.due(loader_);
  for (const auto& name : logged.at("objects").get<std::vector<std::string>>())
    if (std::find(own_objects.begin(), own_objects.end(), name) == own_objects.end())
      throw std::runtime_error(
          "the metric object " + name +
          " is logged by other ranks, and this one has had no batch in the epoch since it "
          "started: give each rank's stream at least one, or log the metric's value");
  for (const auto& one : logged.at("values")) {
    const auto hook = std::find_if(hook_table::kFacts.begin(), hook_table::kFacts.end(),
                                   [&](const HookFacts& facts) { return one.at("hook") == facts.name; });
    const auto name = one.at("name").get<std::string>();
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.in_step && entry.hook == hook->hook && entry.name == name && entry.loader == loader_;
    });
    if (found != entries_.end()) continue;  // a hook that runs without a batch, too
    const LogOptions options{.on_step = one.at("on_step").get<bool>(),
                             .on_epoch = one.at("on_epoch").get<bool>(),
                             .prog_bar = one.at("prog_bar").get<bool>(),
                             .logger = one.at("logger").get<bool>(),
                             .reduce_fx = static_cast<ReduceFx>(one.at("reduce_fx").get<int>()),
                             .sync_dist = one.at("sync_dist").get<bool>(),
                             .batch_size = std::nullopt,
                             .rank_zero_only = one.at("rank_zero_only").get<bool>(),
                             .add_dataloader_idx = one.at("add_dataloader_idx").get<bool>()};
    constexpr auto kLargest = std::numeric_limits<double>::infinity();
    const double nothing = options.reduce_fx == ReduceFx::kMin   ? kLargest
                           : options.reduce_fx == ReduceFx::kMax ? -kLargest
                                                                 : 0;
    log(hook->hook, name, {{}, nothing}, options, /*batch_size=*/0, strategy);
    for (auto& entry : entries_)
      if (entry.hook == hook->hook && entry.name == name && entry.loader == loader_) entry.step_weight = 0;
  }
}

void LoggedMetrics::reduce_epoch(Strategy& strategy, bool meets) {
  registered_.compute(loader_, strategy);
  if (!strategy.is_distributed()) return;
  std::vector<Entry*> due;
  std::vector<MetricPart> parts;
  for (auto& entry : entries_) {
    if (entry.is_reset || entry.computed || entry.loader != loader_ || !*entry.options.on_epoch ||
        !syncs(entry.options, strategy))
      continue;
    due.push_back(&entry);
    parts.push_back({part_name(entry.hook, entry.full), entry.options.reduce_fx, entry.total.tensor,
                     entry.total.number, entry.weight});
  }
  if (due.empty() && !meets) return;
  if (meets) step_reduction_.check();
  const auto results = epoch_reduction_.run(parts, /*check=*/true, strategy);
  for (std::size_t i = 0; i < due.size(); ++i) due[i]->computed = like(due[i]->total, results[i]);
}

/// Of this rank alone.
MetricValue LoggedMetrics::compute(Entry& entry, const Strategy& strategy) {
  if (strategy.is_distributed() && !entry.options.rank_zero_only && !std::exchange(entry.warned, true)) {
    warn("log(\"" + entry.name +
         "\"): on_epoch without sync_dist is computed from this rank's data only; set "
         "sync_dist = true to reduce over all ranks");
  }
  if (entry.options.reduce_fx != ReduceFx::kMean) return entry.total;
  return entry.total.tensor.defined() ? MetricValue{entry.total.tensor / entry.weight}
                                      : MetricValue{{}, entry.total.number / entry.weight};
}

void LoggedMetrics::add_to(Views& views, bool on_step, Strategy& strategy) {
  if (!on_step) reduce_epoch(strategy, /*meets=*/false);
  registered_.for_each(loader_, on_step, [&](const RegisteredMetrics::Shown& one) {
    if (one.options.logger) views.logged[one.name] = one.value;
    if (training_ || !on_step) views.callback[one.full] = views.callback[one.name] = one.value;
    if (one.options.prog_bar) views.progress_bar[one.name] = one.value;
  });
  for (auto& entry : entries_) {
    if (entry.is_reset || entry.loader != loader_) continue;
    if (!(on_step ? *entry.options.on_step : *entry.options.on_epoch)) continue;
    if (!on_step && !entry.computed) entry.computed = compute(entry, strategy);
    const auto& value = on_step ? entry.step : *entry.computed;
    const auto& name = on_step ? entry.step_name : entry.epoch_name;
    if (entry.options.logger) views.logged[name] = value;
    if (training_ || !on_step) {
      views.callback[entry.full] = value;
      if (name != entry.full) views.callback[name] = value;
    }
    if (entry.options.prog_bar) views.progress_bar[name] = value;
  }
}

std::map<std::string, torch::Tensor> LoggedMetrics::state() const {
  auto state = resumed_;  // what was not logged again yet
  for (const auto& entry : entries_) {
    if (entry.is_reset || !*entry.options.on_epoch || entry.hook == Hook::kTrainEpochEnd) continue;
    const auto& tensor = entry.total.tensor;
    const bool is_double = tensor.defined() && tensor.scalar_type() == torch::kFloat64;
    const double is_float = tensor.defined() && !is_double ? 1 : 0;
    state.insert_or_assign(
        key_of(entry.hook, entry.name),
        torch::tensor({entry.total.item(), entry.weight, is_float, is_double ? 1.0 : 0.0}, torch::kFloat64));
  }
  return state;
}

void LoggedMetrics::reset() {
  resumed_.clear();
  loader_.reset();
  registered_.reset();
  for (auto& entry : entries_) entry.is_reset = true;
}

void LoggedMetrics::clear() {
  reset();
  registered_.clear();
  entries_.clear();
}

void LoggedMetrics::reset(Hook hook) {
  registered_.reset(hook, loader_);
  for (auto& entry : entries_) {
    if (entry.hook == hook && entry.loader == loader_) entry.is_reset = true;
  }
}

void MetricBoard::clear() {
  views_ = {};
  reset_results();
}

LogOptions MetricBoard::settled(Hook hook, const std::string& name, const LogOptions& given) const {
  const auto at = [&name] { return "log(\"" + name + "\"): "; };
  const auto rule = log_rule(hook);
  if (rule == LogRule::kRefused || active_ == nullptr)
    throw std::logic_error(at() + "logging is not possible in this hook, or outside of one");
  auto options = given;
  if (!options.on_step) options.on_step = rule == LogRule::kStepByDefault;
  if (!options.on_epoch) options.on_epoch = rule != LogRule::kStepByDefault;
  if (*options.on_step && rule == LogRule::kEpochOnly)
    throw std::logic_error(at() + "on_step is not possible in a hook that runs once an epoch");
  if (!*options.on_step && !*options.on_epoch)
    throw std::logic_error(at() + "neither on_step nor on_epoch: the value would go nowhere");
  if (rule == LogRule::kEpochOnly && !*options.on_epoch)
    throw std::logic_error(at() + "a hook that runs once an epoch logs on_epoch");
  return options;
}

void MetricBoard::begin_hook(Hook hook) {
  if (last_hook_ != hook && first_iteration_.value_or(true)) active_->reset(hook);
  last_hook_ = hook;
}

void MetricBoard::log(Hook hook, const std::string& name, MetricValue value, const LogOptions& given) {
  const auto options = settled(hook, name, given);
  if (value.tensor.defined() && value.tensor.numel() != 1) {
    throw std::logic_error("log(\"" + name + "\"): the tensor has " + std::to_string(value.tensor.numel()) +
                           " elements, expected 1");
  }
  if (tape_ != nullptr && tape_->takes(hook, name, value, given)) return;
  begin_hook(hook);
  active_->log(hook, name, std::move(value), options, batch_size_, strategy_);
}

void MetricBoard::log(Hook hook, const std::string& name, Metric& metric, const LogOptions& given) {
  const auto options = settled(hook, name, given);
  if (tape_ != nullptr && tape_->refuses("log(\"" + name +
                                         "\") of a metric object: update and log it in "
                                         "on_train_batch_end"))
    return;
  begin_hook(hook);
  active_->log(hook, name, metric, options);
}

void MetricBoard::on_batch_start(std::int64_t batch_size) {
  first_iteration_ = !first_iteration_.has_value();
  batch_size_ = batch_size;
}

void MetricBoard::step_done() {
  if (active_ != nullptr) active_->reduce_step(strategy_, /*meets=*/true);
}

void MetricBoard::join_step(bool has_batch, int first) {
  if (active_ == nullptr) return;
  auto& ranks = strategy_.mesh().world();
  const auto own = ranks.rank() == first ? runtime::dump_json(active_->logged_in_step()) : std::string();
  const auto text = ranks.broadcast_text(own, first, strategy_.device());
  if (has_batch) return;
  const auto logged = runtime::parse_json(text);
  if (!logged)
    throw std::runtime_error("what rank " + std::to_string(first) +
                             " has logged: " + logged.error().message());
  active_->log_without_batch(*logged, strategy_);
}

void MetricBoard::on_batch_end() {
  if (active_ != nullptr) active_->reduce_step(strategy_, /*meets=*/false);
  refresh();
  batch_size_ = 1;
}

void MetricBoard::epoch_end_reached() {
  first_iteration_.reset();
  if (active_ != nullptr) active_->reduce_epoch(strategy_, /*meets=*/true);
  refresh();
}

void MetricBoard::refresh() {
  if (active_ != nullptr) active_->add_to(views_, first_iteration_.has_value(), strategy_);
}

void MetricBoard::reset_results() {
  if (active_ != nullptr) active_->reset();
  first_iteration_.reset();
  last_hook_ = Hook::kNone;
  batch_size_ = 1;
}

nlohmann::json MetricBoard::state() const {
  nlohmann::json state;
  for (const auto& [name, values] :
       {std::pair("callback", &views_.callback), std::pair("logged", &views_.logged),
        std::pair("progress_bar", &views_.progress_bar)}) {
    auto& view = state[name] = nlohmann::json::object();
    for (const auto& [metric, value] : *values) view[metric] = value.item();
  }
  return state;
}

void MetricBoard::load_state(const nlohmann::json& state) {
  for (const auto& [name, values] :
       {std::pair("callback", &views_.callback), std::pair("logged", &views_.logged),
        std::pair("progress_bar", &views_.progress_bar)}) {
    const auto view = state.find(name);
    if (view == state.end()) continue;
    for (const auto& item : view->items())
      (*values)[item.key()] = MetricValue{{}, runtime::saved_number(item.value(), 0)};
  }
}

MetricValues MetricBoard::epoch_metrics() {
  LoggedMetrics::Views views;
  if (active_ != nullptr) active_->add_to(views, false, strategy_);
  return std::move(views.logged);
}

void MetricBoard::write_row(const MetricValues& logged, std::int64_t step,
                            std::optional<std::int64_t> epoch) {
  if (logged.empty()) return;
  auto row = items(logged);
  if (epoch) {
    if (const auto own = row.find("step"); own != row.end()) {
      step = static_cast<std::int64_t>(own->second);
      row.erase(own);
    } else {
      row.emplace("epoch", static_cast<double>(*epoch));
    }
  }
  for (const auto& logger : loggers_) {
    logger->log_metrics(row, step);
    logger->save();
  }
}

void MetricBoard::to_loggers(std::int64_t step, std::int64_t epoch) {
  if (loggers_.empty() || active_ == nullptr) return;
  LoggedMetrics::Views views;
  active_->add_to(views, first_iteration_.has_value(), strategy_);
  write_row(views.logged, step, epoch);
}

void MetricBoard::to_loggers(const MetricValues& values, std::int64_t step, std::int64_t epoch) {
  if (!loggers_.empty()) write_row(values, step, epoch);
}

void MetricBoard::add(const std::map<std::string, double>& values, std::int64_t step) {
  MetricValues row;
  for (const auto& [name, value] : values) row.emplace(name, MetricValue{{}, value});
  for (const auto& [name, value] : row) views_.callback[name] = value;
  write_row(row, step, std::nullopt);
}

void MetricBoard::step_to_loggers(std::int64_t steps, std::int64_t epoch, bool stopping) {
  if (loggers_.empty() || log_every_n_steps_ == 0) return;
  if ((steps + 1) % log_every_n_steps_ == 0 || stopping) to_loggers(steps, epoch);
}

void MetricBoard::evaluation_step_to_loggers(std::int64_t batches) {
  if (loggers_.empty() || active_ == nullptr) return;
  LoggedMetrics::Views views;
  active_->add_to(views, /*on_step=*/true, strategy_);
  write_row(views.logged, batches, std::nullopt);
}

}  // namespace rtrain
