// Cosines: CosineAnnealingLR, CosineAnnealingWarmRestarts, SWALR and the factor warmup_cosine().
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rtrain::lr {
namespace {

using schedulers::found;
using schedulers::require;
using std::numbers::pi;

class Cosine final : public LRScheduler {
 public:
  Cosine(SharedOptimizer optimizer, CosineAnnealingLROptions options)
      : LRScheduler(std::move(optimizer), "CosineAnnealingLR"),
        t_max_(static_cast<double>(options.t_max)),
        eta_min_(options.eta_min) {
    require(options.t_max >= 1, type_name(), "t_max must be 1 or more" + found(t_max_));
    begin();
  }

 protected:
  [[nodiscard]] Rates rates() override {
    const auto e = static_cast<double>(last_epoch_);
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) {
      if (is_initial_)
        result.push_back(rate(i));
      else if (step_count_ == 1 && last_epoch_ > 0)
        result.push_back(closed(base_lrs_[i]));
      else if (std::fmod(e - 1 - t_max_, 2 * t_max_) ==
               0)  // the rate is eta_min: no factor leads up from there
        result.push_back(rate(i) + (base_lrs_[i] - eta_min_) * (1 - std::cos(pi / t_max_)) / 2);
      else
        result.push_back((1 + std::cos(pi * e / t_max_)) / (1 + std::cos(pi * (e - 1) / t_max_)) *
                             (rate(i) - eta_min_) +
                         eta_min_);
    }
    return result;
  }
  [[nodiscard]] std::optional<Rates> closed_form() override {
    Rates result;
    for (const double base : base_lrs_) result.push_back(closed(base));
    return result;
  }

 private:
  [[nodiscard]] double closed(double base) const {
    const auto e = static_cast<double>(last_epoch_);
    return eta_min_ + (base - eta_min_) * (1 + std::cos(pi * e / t_max_)) / 2;
  }
  double t_max_, eta_min_;
};

class WarmRestarts final : public LRScheduler {
 public:
  WarmRestarts(SharedOptimizer optimizer, CosineAnnealingWarmRestartsOptions options)
      : LRScheduler(std::move(optimizer), "CosineAnnealingWarmRestarts"),
        t_0_(static_cast<double>(options.t_0)),
        t_mult_(static_cast<double>(options.t_mult)),
        eta_min_(options.eta_min),
        length_(t_0_) {
    require(options.t_0 >= 1, type_name(), "t_0 must be 1 or more" + found(t_0_));
    require(options.t_mult >= 1, type_name(), "t_mult must be 1 or more" + found(t_mult_));
    begin();
  }

  void step() override {
    if (last_epoch_ < 0) return step_to(0);
    within_ += 1;
    if (within_ >= length_) {
      within_ -= length_;
      length_ *= t_mult_;
    }
    ++last_epoch_;
    apply(rates());
  }

  void step_to(double epoch) override {
    require(epoch >= 0, type_name(), "step_to takes numbers from 0" + found(epoch));
    length_ = t_0_;
    within_ = epoch;
    if (epoch >= t_0_ && t_mult_ == 1) {
      within_ = std::fmod(epoch, t_0_);
    } else if (epoch >= t_0_) {  // after n cycles, which took t_0 (t_mult^n - 1) / (t_mult - 1)
      const double n = std::floor(std::log(epoch / t_0_ * (t_mult_ - 1) + 1) / std::log(t_mult_));
      within_ = epoch - t_0_ * (std::pow(t_mult_, n) - 1) / (t_mult_ - 1);
      length_ = t_0_ * std::pow(t_mult_, n);
    }
    last_epoch_ = static_cast<std::int64_t>(std::floor(epoch));
    apply(rates());
  }

  [[nodiscard]] nlohmann::json state() const override {
    auto state = LRScheduler::state();
    state["T_cur"] = within_;
    state["T_i"] = length_;
    return state;
  }
  void load_state(const nlohmann::json& state) override {
    const schedulers::SavedState saved(state, type_name());
    const double within = saved.number("T_cur"), length = saved.number("T_i");
    LRScheduler::load_state(state);
    within_ = within;
    length_ = length;
  }

 protected:
  void restart() override { step_to(0); }
  [[nodiscard]] Rates rates() override {
    Rates result;
    for (const double base : base_lrs_)
      result.push_back(eta_min_ + (base - eta_min_) * (1 + std::cos(pi * within_ / length_)) / 2);
    return result;
  }

 private:
  double t_0_, t_mult_, eta_min_;
  double within_ = 0;  ///< epochs since the last restart
  double length_;      ///< of the cycle it is in
};

class SWA final : public LRScheduler {
 public:
  SWA(SharedOptimizer optimizer, const SWALROptions& options)
      : LRScheduler(std::move(optimizer), "SWALR"),
        anneal_epochs_(options.anneal_epochs),
        is_cosine_(options.anneal_strategy == Anneal::kCosine) {
    const auto rates = options.swa_lr.of(groups(), "SWALR: swa_lr");
    require(anneal_epochs_ >= 0, type_name(),
            "anneal_epochs must be 0 or more" + found(static_cast<double>(anneal_epochs_)));
    for (std::size_t i = 0; i < groups(); ++i) {
      require(rates[i] >= 0, type_name(), "swa_lr must be 0 or more" + found(rates[i]));
      this->optimizer().groups()[i].options["swa_lr"] = rates[i];
    }
    begin();
  }

 protected:
  [[nodiscard]] Rates rates() override {
    auto step = static_cast<double>(step_count_ - 1);
    if (anneal_epochs_ == 0) step = std::max(1.0, step);
    const auto length = static_cast<double>(std::max<std::int64_t>(1, anneal_epochs_));
    const double before = part(std::clamp((step - 1) / length, 0.0, 1.0));
    const double now = part(std::clamp(step / length, 0.0, 1.0));
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) {
      const double swa = optimizer().groups()[i].options.at("swa_lr");
      const double base = before == 1 ? swa : (rate(i) - before * swa) / (1 - before);
      result.push_back(swa * now + base * (1 - now));
    }
    return result;
  }

 private:
  [[nodiscard]] double part(double t) const { return is_cosine_ ? (1 - std::cos(pi * t)) / 2 : t; }
  std::int64_t anneal_epochs_;
  bool is_cosine_;
};

}  // namespace

SharedScheduler CosineAnnealingLR(SharedOptimizer optimizer, CosineAnnealingLROptions options) {
  return std::make_shared<Cosine>(std::move(optimizer), options);
}
SharedScheduler CosineAnnealingWarmRestarts(SharedOptimizer optimizer,
                                            CosineAnnealingWarmRestartsOptions options) {
  return std::make_shared<WarmRestarts>(std::move(optimizer), options);
}
SharedScheduler SWALR(SharedOptimizer optimizer, SWALROptions options) {
  return std::make_shared<SWA>(std::move(optimizer), options);
}

Factor warmup_cosine(std::int64_t warmup_steps, std::int64_t total_steps, double min_factor) {
  require(warmup_steps >= 0 && total_steps > warmup_steps, "warmup_cosine",
          "expected 0 <= warmup_steps < total_steps, found " + std::to_string(warmup_steps) + " and " +
              std::to_string(total_steps));
  require(min_factor >= 0 && min_factor <= 1, "warmup_cosine",
          "min_factor must be in [0, 1]" + found(min_factor));
  return [=](std::int64_t e) {
    if (e < warmup_steps) return static_cast<double>(e) / static_cast<double>(warmup_steps);
    const double part = std::min(
        1.0, static_cast<double>(e - warmup_steps) / static_cast<double>(total_steps - warmup_steps));
    return min_factor + (1 - min_factor) * (1 + std::cos(pi * part)) / 2;
  };
}

}  // namespace rtrain::lr
