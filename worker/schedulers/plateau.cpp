// ReduceLROnPlateau: a rate that falls when a metric stays where it is.
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <cmath>
#include <limits>

namespace rtrain::lr {
namespace {

using schedulers::found;
using schedulers::require;

class Plateau final : public LRScheduler {
 public:
  Plateau(SharedOptimizer optimizer, const ReduceLROnPlateauOptions& options)
      : LRScheduler(std::move(optimizer), "ReduceLROnPlateau"), options_(options) {
    require(options_.factor < 1, type_name(), "factor must be below 1" + found(options_.factor));
    min_lrs_ = options_.min_lr.of(groups(), "ReduceLROnPlateau: min_lr");
    for (std::size_t i = 0; i < groups(); ++i) last_lr_.push_back(rate(i));
    last_epoch_ = 0;
  }

  [[nodiscard]] bool needs_metric() const override { return true; }

  void step() override {
    throw std::logic_error("ReduceLROnPlateau needs the metric that it follows: call step(metric)");
  }
  void step(double metric) override {
    ++step_count_;
    ++last_epoch_;
    if (is_better(metric)) {
      best_ = metric;
      bad_ = 0;
    } else {
      ++bad_;
    }
    if (cooldown_ > 0) {
      --cooldown_;
      bad_ = 0;
    }
    auto rates = this->rates();
    if (bad_ > options_.patience) {
      cooldown_ = options_.cooldown;
      bad_ = 0;
      for (std::size_t i = 0; i < groups(); ++i) {
        const double lower = std::max(rates[i] * options_.factor, min_lrs_[i]);
        if (rates[i] - lower > options_.eps) rates[i] = lower;
      }
    }
    apply(rates);
  }
  void step_to(double) override {
    throw std::logic_error("ReduceLROnPlateau follows a metric, not a number of steps");
  }

  [[nodiscard]] nlohmann::json state() const override {
    auto state = LRScheduler::state();
    // JSON has no infinity, which is the best of a scheduler that was not stepped.
    state["best"] = std::isfinite(best_) ? nlohmann::json(best_) : nlohmann::json();
    state["num_bad_epochs"] = bad_;
    state["cooldown_counter"] = cooldown_;
    return state;
  }
  void load_state(const nlohmann::json& state) override {
    const schedulers::SavedState saved(state, type_name());
    const double best = saved.at("best").is_null() ? worst() : saved.number("best");
    const auto bad = saved.whole("num_bad_epochs"), cooldown = saved.whole("cooldown_counter");
    LRScheduler::load_state(state);
    best_ = best;
    bad_ = bad;
    cooldown_ = cooldown;
  }

 protected:
  [[nodiscard]] Rates rates() override {
    Rates now;
    for (std::size_t i = 0; i < groups(); ++i) now.push_back(rate(i));
    return now;
  }

 private:
  [[nodiscard]] double worst() const {
    return (options_.mode == Mode::kMin ? 1 : -1) * std::numeric_limits<double>::infinity();
  }
  [[nodiscard]] bool is_better(double metric) const {
    const bool relative = options_.threshold_mode == ThresholdMode::kRelative;
    if (options_.mode == Mode::kMin)
      return metric < (relative ? best_ * (1 - options_.threshold) : best_ - options_.threshold);
    return metric > (relative ? best_ * (options_.threshold + 1) : best_ + options_.threshold);
  }

  ReduceLROnPlateauOptions options_;
  std::vector<double> min_lrs_;
  double best_ = worst();
  std::int64_t bad_ = 0;       ///< steps without a better metric
  std::int64_t cooldown_ = 0;  ///< steps that still do not count
};

}  // namespace

SharedScheduler ReduceLROnPlateau(SharedOptimizer optimizer, ReduceLROnPlateauOptions options) {
  return std::make_shared<Plateau>(std::move(optimizer), options);
}

}  // namespace rtrain::lr
