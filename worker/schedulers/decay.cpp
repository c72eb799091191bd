// Schedulers that multiply the rate by a factor: LambdaLR, MultiplicativeLR, StepLR, MultiStepLR, ConstantLR,
// LinearLR, ExponentialLR, PolynomialLR. Most compute the next rate from the one before, so that several of
// them, and whoever else changes the rate, work together; the closed forms serve step_to().
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace rtrain::lr {
namespace {

using schedulers::found;
using schedulers::require;

/// A scheduler whose forms act on each group alike.
class Uniform : public LRScheduler {
 public:
  using LRScheduler::LRScheduler;

 protected:
  /// The rate of last_epoch_ from the rate before.
  [[nodiscard]] virtual double next(double rate) const = 0;
  [[nodiscard]] virtual double closed(double base) const = 0;

  [[nodiscard]] Rates rates() final {
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) result.push_back(next(rate(i)));
    return result;
  }
  [[nodiscard]] std::optional<Rates> closed_form() final {
    Rates result;
    for (const double base : base_lrs_) result.push_back(closed(base));
    return result;
  }
  [[nodiscard]] double epoch() const { return static_cast<double>(last_epoch_); }
};

class ByFunction final : public LRScheduler {
 public:
  ByFunction(SharedOptimizer optimizer, const char* type, std::vector<Factor> factors, bool multiplies)
      : LRScheduler(std::move(optimizer), type), factors_(std::move(factors)), multiplies_(multiplies) {
    if (factors_.size() == 1) factors_.resize(groups(), factors_.front());
    require(factors_.size() == groups(), type,
            "expected one function, or one for each of " + std::to_string(groups()) +
                " parameter group(s), found " + std::to_string(factors_.size()));
    require(std::all_of(factors_.begin(), factors_.end(), [](const auto& f) { return f != nullptr; }), type,
            "a function is empty");
    begin();
  }

 protected:
  [[nodiscard]] Rates rates() override {
    Rates result;
    for (std::size_t i = 0; i < groups(); ++i) {
      if (multiplies_)
        result.push_back(is_initial_ ? rate(i) : rate(i) * factors_[i](last_epoch_));
      else
        result.push_back(base_lrs_[i] * factors_[i](last_epoch_));
    }
    return result;
  }

 private:
  std::vector<Factor> factors_;
  bool multiplies_;
};

class Steps final : public Uniform {
 public:
  Steps(SharedOptimizer optimizer, StepLROptions options)
      : Uniform(std::move(optimizer), "StepLR"), options_(options) {
    require(options_.step_size >= 1, type_name(),
            "step_size must be 1 or more" + found(static_cast<double>(options_.step_size)));
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override {
    return last_epoch_ == 0 || last_epoch_ % options_.step_size != 0 ? rate : rate * options_.gamma;
  }
  [[nodiscard]] double closed(double base) const override {
    return base * std::pow(options_.gamma, static_cast<double>(last_epoch_ / options_.step_size));
  }

 private:
  StepLROptions options_;
};

class MultiSteps final : public Uniform {
 public:
  MultiSteps(SharedOptimizer optimizer, const MultiStepLROptions& options)
      : Uniform(std::move(optimizer), "MultiStepLR"), gamma_(options.gamma) {
    for (const auto milestone : options.milestones) ++milestones_[milestone];
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override {
    const auto here = milestones_.find(last_epoch_);
    return here == milestones_.end() ? rate : rate * std::pow(gamma_, here->second);
  }
  [[nodiscard]] double closed(double base) const override {
    double passed = 0;
    for (const auto& [milestone, times] : milestones_)
      if (milestone <= last_epoch_) passed += times;
    return base * std::pow(gamma_, passed);
  }

 private:
  double gamma_;
  std::map<std::int64_t, double> milestones_;  ///< how often each is listed
};

class Constant final : public Uniform {
 public:
  Constant(SharedOptimizer optimizer, ConstantLROptions options)
      : Uniform(std::move(optimizer), "ConstantLR"), options_(options) {
    require(options_.factor >= 0 && options_.factor <= 1, type_name(),
            "factor must be in [0, 1]" + found(options_.factor));
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override {
    if (last_epoch_ == 0) return rate * options_.factor;
    return last_epoch_ != options_.total_iters ? rate : rate * (1 / options_.factor);
  }
  [[nodiscard]] double closed(double base) const override {
    return base * (options_.factor + (last_epoch_ >= options_.total_iters ? 1 : 0) * (1 - options_.factor));
  }

 private:
  ConstantLROptions options_;
};

class Linear final : public Uniform {
 public:
  Linear(SharedOptimizer optimizer, LinearLROptions options)
      : Uniform(std::move(optimizer), "LinearLR"), options_(options) {
    require(options_.start_factor > 0 && options_.start_factor <= 1, type_name(),
            "start_factor must be above 0 and at most 1" + found(options_.start_factor));
    require(options_.end_factor >= 0 && options_.end_factor <= 1, type_name(),
            "end_factor must be in [0, 1]" + found(options_.end_factor));
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override {
    const double start = options_.start_factor, end = options_.end_factor, total = iterations();
    if (last_epoch_ == 0) return rate * start;
    if (is_initial_ || last_epoch_ > options_.total_iters) return rate;
    return rate * (1 + (end - start) / (total * start + (epoch() - 1) * (end - start)));
  }
  [[nodiscard]] double closed(double base) const override {
    const double start = options_.start_factor, end = options_.end_factor;
    return base * (start + (end - start) * std::min(iterations(), epoch()) / iterations());
  }

 private:
  [[nodiscard]] double iterations() const { return static_cast<double>(options_.total_iters); }
  LinearLROptions options_;
};

class Exponential final : public Uniform {
 public:
  Exponential(SharedOptimizer optimizer, double gamma)
      : Uniform(std::move(optimizer), "ExponentialLR"), gamma_(gamma) {
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override { return is_initial_ ? rate : rate * gamma_; }
  [[nodiscard]] double closed(double base) const override { return base * std::pow(gamma_, epoch()); }

 private:
  double gamma_;
};

class Polynomial final : public Uniform {
 public:
  Polynomial(SharedOptimizer optimizer, PolynomialLROptions options)
      : Uniform(std::move(optimizer), "PolynomialLR"), options_(options) {
    require(options_.total_iters >= 1, type_name(),
            "total_iters must be 1 or more" + found(static_cast<double>(options_.total_iters)));
    begin();
  }

 protected:
  [[nodiscard]] double next(double rate) const override {
    if (is_initial_ || last_epoch_ == 0 || last_epoch_ > options_.total_iters) return rate;
    return rate * std::pow((1 - epoch() / iterations()) / (1 - (epoch() - 1) / iterations()), options_.power);
  }
  [[nodiscard]] double closed(double base) const override {
    return base * std::pow(1 - std::min(iterations(), epoch()) / iterations(), options_.power);
  }

 private:
  [[nodiscard]] double iterations() const { return static_cast<double>(options_.total_iters); }
  PolynomialLROptions options_;
};

}  // namespace

SharedScheduler LambdaLR(SharedOptimizer optimizer, std::vector<Factor> factors) {
  return std::make_shared<ByFunction>(std::move(optimizer), "LambdaLR", std::move(factors), false);
}
SharedScheduler LambdaLR(SharedOptimizer optimizer, Factor factor) {
  return LambdaLR(std::move(optimizer), std::vector{std::move(factor)});
}
SharedScheduler MultiplicativeLR(SharedOptimizer optimizer, std::vector<Factor> factors) {
  return std::make_shared<ByFunction>(std::move(optimizer), "MultiplicativeLR", std::move(factors), true);
}
SharedScheduler MultiplicativeLR(SharedOptimizer optimizer, Factor factor) {
  return MultiplicativeLR(std::move(optimizer), std::vector{std::move(factor)});
}
SharedScheduler StepLR(SharedOptimizer optimizer, StepLROptions options) {
  return std::make_shared<Steps>(std::move(optimizer), options);
}
SharedScheduler MultiStepLR(SharedOptimizer optimizer, MultiStepLROptions options) {
  return std::make_shared<MultiSteps>(std::move(optimizer), options);
}
SharedScheduler ConstantLR(SharedOptimizer optimizer, ConstantLROptions options) {
  return std::make_shared<Constant>(std::move(optimizer), options);
}
SharedScheduler LinearLR(SharedOptimizer optimizer, LinearLROptions options) {
  return std::make_shared<Linear>(std::move(optimizer), options);
}
SharedScheduler ExponentialLR(SharedOptimizer optimizer, double gamma) {
  return std::make_shared<Exponential>(std::move(optimizer), gamma);
}
SharedScheduler PolynomialLR(SharedOptimizer optimizer, PolynomialLROptions options) {
  return std::make_shared<Polynomial>(std::move(optimizer), options);
}

}  // namespace rtrain::lr
