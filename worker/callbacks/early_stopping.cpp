#include <rtrain/callbacks/early_stopping.h>

#include "common/base/nan.h"
#include "worker/callbacks/monitored.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace rtrain {
namespace {

std::string shown(double value) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << unsigned_nan(value);
  return text.str();
}

/// Whether the Trainer could end now, or at the end of this epoch. Until then the metric may recover: a
/// verdict that comes too early is dropped and made anew at the next check.
bool may_end(const Trainer& trainer) {
  const auto& o = trainer.options();
  const auto min_epochs = o.min_epochs.value_or(o.min_steps ? 1 : 0);
  return trainer.current_epoch() + 1 >= min_epochs && trainer.global_step() >= o.min_steps.value_or(0);
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

EarlyStopping::EarlyStopping(EarlyStoppingOptions options)
    : options_(std::move(options)), best_score_(options_.mode == "min" ? kInfinity : -kInfinity) {
  std::string problems;
  if (options_.monitor.empty()) problems += "\n  monitor is empty, expected the name of a logged metric";
  if (options_.mode != "min" && options_.mode != "max")
    problems += "\n  mode is \"" + options_.mode + "\", expected \"min\" or \"max\"";
  if (options_.patience < 0)
    problems += "\n  patience is " + std::to_string(options_.patience) + ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("EarlyStopping: these options cannot be used:" + problems);
}

std::string EarlyStopping::state_key() const {
  return "EarlyStopping{monitor=" + options_.monitor + ", mode=" + options_.mode +
         (options_.name.empty() ? "" : ", name=" + options_.name) + "}";
}

void EarlyStopping::setup(Trainer& trainer, LightningModule&, Stage) {
  const auto& o = trainer.options();
  const bool once_an_epoch = o.val_check_interval.is_fraction() && o.val_check_interval.fraction() == 1.0 &&
                             o.check_val_every_n_epoch == 1;
  at_train_epoch_end_ = options_.check_on_train_epoch_end.value_or(once_an_epoch);
}

void EarlyStopping::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  if (at_train_epoch_end_) check(trainer);
}

void EarlyStopping::on_validation_end(Trainer& trainer, LightningModule&) {
  if (!at_train_epoch_end_ && trainer.fitting() && !trainer.sanity_checking()) check(trainer);
}

void EarlyStopping::say(const Trainer& trainer, const std::string& text) const {
  if (!options_.verbose || (options_.log_rank_zero_only && !trainer.is_global_zero())) return;
  const auto rank = trainer.world_size() > 1 ? "[rank " + std::to_string(trainer.global_rank()) + "] " : "";
  std::cerr << rank << "EarlyStopping: " << text << std::endl;
}

void EarlyStopping::check(Trainer& trainer) {
  if (trainer.options().fast_dev_run > 0) return;
  const auto own = trainer.callback_metrics();
  warn_if_unsynced(trainer, "EarlyStopping", options_.monitor, own, warned_of_unsynced_);
  const auto metrics = agreed_metrics(trainer, own);
  const auto found = metrics.find(options_.monitor);
  if (found == metrics.end()) {
    if (!options_.strict) return;
    throw std::runtime_error("EarlyStopping: the metric \"" + options_.monitor +
                             "\" was not logged; there are: " + names_of(metrics));
  }
  bool stop = should_stop(trainer, found->second);
  if (options_.check_finite) {
    const auto here = own.find(options_.monitor);
    const bool broken = trainer.strategy().reduce_boolean_decision(
        here != own.end() && !std::isfinite(here->second), /*all=*/false);
    if (broken && !stop) {
      why_ = StoppingReason::kNonFiniteMetric;
      reason_ = options_.monitor + " is not finite on another rank than 0";
    }
    stop = stop || broken;
  }
  if (!stop || !may_end(trainer)) {
    reason_.clear();
    why_ = StoppingReason::kNotStopped;
    return;
  }
  trainer.set_should_stop();
  stopped_epoch_ = trainer.current_epoch();
  say(trainer, reason_);
}

bool EarlyStopping::should_stop(const Trainer& trainer, double current) {
  const auto name = options_.monitor + " = " + shown(current);
  if (options_.check_finite && !std::isfinite(current)) {
    why_ = StoppingReason::kNonFiniteMetric;
    reason_ = name + " is not finite";
    return true;
  }
  if (options_.stopping_threshold && better(current, *options_.stopping_threshold)) {
    why_ = StoppingReason::kStoppingThreshold;
    reason_ = name + " is better than the threshold " + shown(*options_.stopping_threshold);
    return true;
  }
  if (options_.divergence_threshold && better(*options_.divergence_threshold, current)) {
    why_ = StoppingReason::kDivergenceThreshold;
    reason_ = name + " is worse than the threshold " + shown(*options_.divergence_threshold);
    return true;
  }
  const double margin = options_.mode == "min" ? current + options_.min_delta : current - options_.min_delta;
  if (better(margin, best_score_)) {
    say(trainer, std::isfinite(best_score_) ? name + " improved by " + shown(std::abs(best_score_ - current))
                                            : name + " is the first");
    best_score_ = current;
    wait_count_ = 0;
    return false;
  }
  if (++wait_count_ < options_.patience) return false;
  why_ = StoppingReason::kPatienceExhausted;
  reason_ = options_.monitor + " did not improve in the last " + std::to_string(wait_count_) +
            " checks; the best was " + shown(best_score_);
  return true;
}

nlohmann::json EarlyStopping::state_dict() const {
  return {{"wait_count", wait_count_},
          {"stopped_epoch", stopped_epoch_},
          {"best_score", best_score_},
          {"patience", options_.patience},
          {"stopping_reason", static_cast<int>(why_)},
          {"stopping_reason_message", reason_}};
}

void EarlyStopping::load_state_dict(const nlohmann::json& state) {
  wait_count_ = state.at("wait_count").get<int>();
  stopped_epoch_ = state.at("stopped_epoch").get<std::int64_t>();
  best_score_ =
      runtime::saved_number(state.at("best_score"), options_.mode == "min" ? kInfinity : -kInfinity);
  if (const auto& reason = state.at("stopping_reason");
      reason.is_string()) {  // of version 2, without a number
    reason_ = reason.get<std::string>();
    return;
  }
  const auto why = state.at("stopping_reason").get<int>();
  if (why < 0 || why > static_cast<int>(StoppingReason::kNonFiniteMetric))
    throw std::runtime_error("EarlyStopping: the checkpoint's stopping_reason is " + std::to_string(why) +
                             ", expected 0 to 4");
  why_ = static_cast<StoppingReason>(why);
  reason_ = state.value("stopping_reason_message", "");
  const auto patience = state.value("patience", options_.patience);
  if (patience != options_.patience)
    warn("EarlyStopping: patience is " + std::to_string(options_.patience) + ", but the checkpoint has " +
         std::to_string(patience) + ", which goes on");
  options_.patience = patience;
}

RTRAIN_REGISTER_OPTIONS(Callback, "EarlyStopping", EarlyStopping, EarlyStoppingOptions, monitor, min_delta,
                        patience, verbose, mode, strict, check_finite, stopping_threshold,
                        divergence_threshold, check_on_train_epoch_end, name);

}  // namespace rtrain
