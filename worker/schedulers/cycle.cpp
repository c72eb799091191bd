// Rates that go up and down, and a momentum that goes the other way: OneCycleLR, CyclicLR.
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numbers>

namespace rtrain::lr {
namespace {

using schedulers::found;
using schedulers::require;

/// A scheduler that also moves "momentum", or "beta1" of an optimizer that has none.
class WithMomentum : public LRScheduler {
 public:
  using LRScheduler::LRScheduler;
  [[nodiscard]] bool counts_steps() const override { return true; }

 protected:
  void cycle_momentum(const PerGroup& base, const PerGroup& max) {
    const auto lowest = base.of(groups(), type_name() + ": base_momentum");
    const auto highest = max.of(groups(), type_name() + ": max_momentum");
    for (std::size_t i = 0; i < groups(); ++i) {
      auto& options = optimizer().groups()[i].options;
      keys_.emplace_back(options.contains("beta1") ? "beta1" : "momentum");
      require(options.contains(keys_[i]), type_name(),
              optimizer().type_name() + " has neither a momentum nor beta1: set cycle_momentum = false");
      options["base_momentum"] = lowest[i];
      options["max_momentum"] = highest[i];
      options[keys_[i]] = highest[i];
    }
  }
  [[nodiscard]] bool cycles_momentum() const { return !keys_.empty(); }
  void set_momentum(std::size_t group, double value) {
    optimizer().groups()[group].options[keys_[group]] = value;
  }

 private:
  std::vector<std::string> keys_;  ///< by group; empty: the momentum stays
};

class OneCycle final : public WithMomentum {
 public:
  OneCycle(SharedOptimizer optimizer, const OneCycleLROptions& options)
      : WithMomentum(std::move(optimizer), "OneCycleLR"), anneal_(options.anneal_strategy) {
    const auto max_lr = options.max_lr.of(groups(), "OneCycleLR: max_lr");
    for (const double rate : max_lr) require(rate > 0, type_name(), "max_lr must be above 0" + found(rate));
    require(options.total_steps || (options.epochs && options.steps_per_epoch), type_name(),
            "total_steps, or epochs and steps_per_epoch, must be given");
    total_ = options.total_steps ? *options.total_steps : *options.epochs * *options.steps_per_epoch;
    const auto total = static_cast<double>(total_);
    require(total_ >= 1, type_name(), "the cycle must have 1 step or more" + found(total));
    require(options.pct_start >= 0 && options.pct_start <= 1, type_name(),
            "pct_start must be in [0, 1]" + found(options.pct_start));
    if (options.three_phase) {
      phases_ = {{options.pct_start * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"},
                 {2 * options.pct_start * total - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"},
                 {total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"}};
    } else {
      phases_ = {{options.pct_start * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"},
                 {total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"}};
    }
    if (options.cycle_momentum) cycle_momentum(options.base_momentum, options.max_momentum);
    for (std::size_t i = 0; i < groups(); ++i) {
      auto& group = this->optimizer().groups()[i].options;
      base_lrs_[i] = group["initial_lr"] = max_lr[i] / options.div_factor;
      group["max_lr"] = max_lr[i];
      group["min_lr"] = group["initial_lr"] / options.final_div_factor;
    }
    begin();
  }

 protected:
  [[nodiscard]] Rates rates() override {
    if (last_epoch_ >= total_ && !said_) {
      said_ = true;
      std::cerr << "rtrain: OneCycleLR was made for " << total_
                << " steps; training continues, and the learning rate keeps its last value\n";
    }
    const auto step = static_cast<double>(std::min(last_epoch_, total_ - 1));
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) {
      double start = 0;
      for (const auto& phase : phases_) {
        if (step > phase.end && &phase != &phases_.back()) {
          start = phase.end;
          continue;
        }
        // A cycle of one step has no length: it is at its end.
        const double part = phase.end == start ? 1 : (step - start) / (phase.end - start);
        const auto& options = optimizer().groups()[i].options;
        result.push_back(between(options.at(phase.lr_from), options.at(phase.lr_to), part));
        if (cycles_momentum())
          set_momentum(i, between(options.at(phase.momentum_from), options.at(phase.momentum_to), part));
        break;
      }
    }
    return result;
  }

 private:
  struct Phase {
    double end;  ///< the step, which need not be whole
    const char *lr_from, *lr_to, *momentum_from, *momentum_to;
  };
  [[nodiscard]] double between(double from, double to, double part) const {
    if (anneal_ == Anneal::kLinear) return (to - from) * part + from;
    return to + (from - to) / 2 * (std::cos(std::numbers::pi * part) + 1);
  }
  Anneal anneal_;
  std::int64_t total_ = 0;
  std::vector<Phase> phases_;
  bool said_ = false;
};

class Cyclic final : public WithMomentum {
 public:
  Cyclic(SharedOptimizer optimizer, const CyclicLROptions& options)
      : WithMomentum(std::move(optimizer), "CyclicLR"),
        scale_(options.scale_fn),
        scale_by_step_(options.scale_by_step) {
    const auto base = options.base_lr.of(groups(), "CyclicLR: base_lr");
    max_lrs_ = options.max_lr.of(groups(), "CyclicLR: max_lr");
    const auto up = static_cast<double>(options.step_size_up);
    const auto down = static_cast<double>(options.step_size_down.value_or(options.step_size_up));
    require(up >= 1 && down >= 0, type_name(),
            "step_size_up must be 1 or more, step_size_down 0 or more" + found(up) + " and " +
                std::to_string(down));
    length_ = up + down;
    up_part_ = up / length_;
    if (!scale_) {
      scale_by_step_ = options.mode == Cycle::kExpRange;
      switch (options.mode) {
        case Cycle::kTriangular: scale_ = [](double) { return 1.0; }; break;
        case Cycle::kTriangular2: scale_ = [](double cycle) { return 1 / std::pow(2.0, cycle - 1); }; break;
        case Cycle::kExpRange:
          scale_ = [gamma = options.gamma](double e) { return std::pow(gamma, e); };
          break;
      }
    }
    if (options.cycle_momentum) cycle_momentum(options.base_momentum, options.max_momentum);
    for (std::size_t i = 0; i < groups(); ++i) {
      base_lrs_[i] = base[i];
      this->optimizer().groups()[i].options["initial_lr"] = base[i];
    }
    begin();
  }

 protected:
  [[nodiscard]] Rates rates() override {
    const auto e = static_cast<double>(last_epoch_);
    const double cycle = std::floor(1 + e / length_);
    const double x = 1 + e / length_ - cycle;
    const double height = x <= up_part_ ? x / up_part_ : (x - 1) / (up_part_ - 1);
    const double scale = scale_(scale_by_step_ ? e : cycle);
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) {
      result.push_back(base_lrs_[i] + (max_lrs_[i] - base_lrs_[i]) * height * scale);
      if (!cycles_momentum()) continue;
      const auto& options = optimizer().groups()[i].options;
      const double highest = options.at("max_momentum");
      set_momentum(i, highest - (highest - options.at("base_momentum")) * height * scale);
    }
    return result;
  }

 private:
  std::vector<double> max_lrs_;
  double length_ = 0;   ///< of a cycle, in steps
  double up_part_ = 0;  ///< of a cycle
  std::function<double(double)> scale_;
  bool scale_by_step_;
};

}  // namespace

SharedScheduler OneCycleLR(SharedOptimizer optimizer, OneCycleLROptions options) {
  return std::make_shared<OneCycle>(std::move(optimizer), options);
}
SharedScheduler CyclicLR(SharedOptimizer optimizer, CyclicLROptions options) {
  return std::make_shared<Cyclic>(std::move(optimizer), options);
}

}  // namespace rtrain::lr
