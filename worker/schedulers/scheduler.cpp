// What all schedulers share: base rates, the first step, the state.
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <cmath>
#include <stdexcept>

namespace rtrain {

namespace {

Optimizer& existing(const std::shared_ptr<Optimizer>& optimizer, const std::string& type) {
  if (optimizer == nullptr) throw std::invalid_argument(type + ": the optimizer is null");
  return *optimizer;
}

}  // namespace

LRScheduler::LRScheduler(std::shared_ptr<Optimizer> optimizer, std::string type)
    : optimizer_(std::move(optimizer)), type_(std::move(type)) {
  for (auto& group : existing(optimizer_, type_).groups()) {
    const auto lr = group.options.find("lr");
    if (lr == group.options.end())
      throw std::invalid_argument(type_ + ": " + optimizer_->type_name() +
                                  " has a group without the option \"lr\"");
    base_lrs_.push_back(group.options.emplace("initial_lr", lr->second).first->second);
  }
}

void LRScheduler::begin() {
  is_initial_ = true;
  step();
  is_initial_ = false;
}

double LRScheduler::rate(std::size_t group) const { return optimizer_->groups()[group].options.at("lr"); }

void LRScheduler::apply(const Rates& rates) {
  const auto groups = optimizer_->groups();
  if (groups.size() != rates.size()) {
    throw std::logic_error(type_ + ": the optimizer had " + std::to_string(rates.size()) +
                           " parameter groups when the scheduler was made, now it has " +
                           std::to_string(groups.size()) + ": make a new scheduler after add_param_group()");
  }
  for (std::size_t i = 0; i < rates.size(); ++i) groups[i].options["lr"] = rates[i];
  last_lr_ = rates;
}

void LRScheduler::step() {
  ++step_count_;
  ++last_epoch_;
  apply(rates());
}

void LRScheduler::step(double) {
  throw std::logic_error(type_ + " takes no metric: call step(); only ReduceLROnPlateau follows a metric");
}

void LRScheduler::step_to(double epoch) {
  if (!(epoch >= 0) || epoch != std::floor(epoch))
    throw std::invalid_argument(type_ + ": step_to takes whole numbers from 0, found " +
                                std::to_string(epoch));
  ++step_count_;
  last_epoch_ = static_cast<std::int64_t>(epoch);
  const auto closed = closed_form();
  apply(closed ? *closed : rates());
}

void LRScheduler::restart() {
  last_epoch_ = 0;
  const auto closed = closed_form();
  apply(closed ? *closed : rates());
}

void LRScheduler::take_back() { --last_epoch_; }

nlohmann::json LRScheduler::state() const {
  return {{"type", type_},
          {"last_epoch", last_epoch_},
          {"step_count", step_count_},
          {"base_lrs", base_lrs_},
          {"last_lr", last_lr_}};
}

void LRScheduler::load_state(const nlohmann::json& state) {
  const schedulers::SavedState saved(state, type_);
  auto base_lrs = saved.numbers("base_lrs", base_lrs_.size());
  auto last_lr = saved.numbers("last_lr", last_lr_.size());
  const auto last_epoch = saved.whole("last_epoch");
  const auto step_count = saved.whole("step_count");
  base_lrs_ = std::move(base_lrs);
  last_lr_ = std::move(last_lr);
  last_epoch_ = last_epoch;
  step_count_ = step_count;
}

namespace schedulers {

SavedState::SavedState(const nlohmann::json& state, std::string type)
    : state_(state), type_(std::move(type)) {
  if (!state_.is_object()) fail("is no JSON object");
  const auto saved = state_.find("type");
  if (saved == state_.end() || *saved != type_)
    fail("is of " +
         (saved != state_.end() && saved->is_string() ? saved->get<std::string>() : "an unknown scheduler"));
}

void SavedState::fail(const std::string& what) const {
  throw std::invalid_argument(type_ + ": the saved state " + what);
}

const nlohmann::json& SavedState::at(const std::string& key) const {
  const auto found = state_.find(key);
  if (found == state_.end()) fail("has no \"" + key + "\"");
  return *found;
}

double SavedState::number(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_number()) fail("has no number \"" + key + "\"");
  return value.get<double>();
}

std::int64_t SavedState::whole(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_number_integer()) fail("has no whole number \"" + key + "\"");
  return value.get<std::int64_t>();
}

std::vector<double> SavedState::numbers(const std::string& key, std::size_t count) const {
  const auto& list = at(key);
  if (!list.is_array() || list.size() != count) {
    fail("has " + (list.is_array() ? std::to_string(list.size()) : "no list of") + " \"" + key +
         "\", the optimizer has " + std::to_string(count) + " parameter group(s)");
  }
  std::vector<double> values;
  for (const auto& value : list) {
    if (!value.is_number()) fail("has something else than numbers in \"" + key + "\"");
    values.push_back(value.get<double>());
  }
  return values;
}

}  // namespace schedulers

namespace lr {

std::vector<double> PerGroup::of(std::size_t groups, const std::string& what) const {
  if (!is_list_) return std::vector<double>(groups, values_.front());
  if (values_.size() != groups) {
    throw std::invalid_argument(what + ": expected a number for each of " + std::to_string(groups) +
                                " parameter group(s), found " + std::to_string(values_.size()));
  }
  return values_;
}

}  // namespace lr
}  // namespace rtrain
