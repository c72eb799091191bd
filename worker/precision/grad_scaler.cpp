// torch/amp/grad_scaler.py, without its reads of the device: found_inf goes to the optimizer as a tensor.
#include <rtrain/amp.h>

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain {
namespace {

/// The state's keys are torch's.
constexpr const char *kScale = "scale", *kGrowth = "growth_factor", *kBackoff = "backoff_factor",
                     *kInterval = "growth_interval", *kTracker = "_growth_tracker";

std::string faults_of(const GradScalerOptions& o) {
  std::string faults;
  const auto expect = [&](bool holds, const char* name, const std::string& found, const char* expected) {
    if (!holds) faults += std::string("\n  ") + name + " is " + found + ", expected " + expected;
  };
  expect(std::isfinite(o.init_scale) && o.init_scale > 0, "init_scale", std::to_string(o.init_scale),
         "a finite number above 0");
  expect(std::isfinite(o.growth_factor) && o.growth_factor > 1, kGrowth, std::to_string(o.growth_factor),
         "a finite number above 1");
  expect(o.backoff_factor > 0 && o.backoff_factor < 1, kBackoff, std::to_string(o.backoff_factor),
         "a number between 0 and 1");
  expect(o.growth_interval >= 1, kInterval, std::to_string(o.growth_interval), "1 or more");
  return faults;
}

}  // namespace

GradScaler::GradScaler(const GradScalerOptions& options) : options_(options) {
  if (const auto faults = faults_of(options); !faults.empty())
    throw std::invalid_argument("GradScaler: these options cannot be used:" + faults);
}

void GradScaler::place(torch::Device device) {
  const at::TensorOptions here(device);
  scale_ = at::full({}, options_.init_scale, here.dtype(at::kFloat));
  tracker_ = at::full({}, first_tracker_, here.dtype(at::kInt));
}

torch::Tensor GradScaler::scale(const torch::Tensor& loss) {
  if (!scale_.defined()) place(loss.device());
  if (scale_.device() != loss.device()) {  // a run before was on another device
    scale_ = scale_.to(loss.device());
    tracker_ = tracker_.to(loss.device());
  }
  return loss * scale_;
}

void GradScaler::unscale(Optimizer& optimizer) {
  if (!scale_.defined())
    throw std::logic_error("GradScaler: no loss was scaled yet, so there is nothing to unscale");
  if (is_unscaled(optimizer)) {
    throw std::logic_error("GradScaler: the gradients of " + optimizer.type_name() +
                           " were unscaled already; step it, or call update()");
  }
  const torch::NoGradGuard no_grad;
  std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
  for (std::size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const auto& gradient = optimizer.parameters()[i].grad();
    if (!gradient.defined()) continue;
    const auto what = [&] { return "GradScaler: the gradient of \"" + optimizer.parameter_name(i) + "\" "; };
    if (gradient.scalar_type() == at::kHalf) {
      throw std::invalid_argument(what() +
                                  "has float16, which cannot be unscaled: keep the parameters in float32 "
                                  "and let autocast convert, or train with 16-true, which scales nothing");
    }
    if (gradient.device() != scale_.device()) {
      throw std::invalid_argument(what() + "is on " + gradient.device().str() + ", the loss was on " +
                                  scale_.device().str() + ": a scaler serves one device");
    }
    by_type[gradient.scalar_type()].push_back(gradient.is_sparse() ? gradient._values() : gradient);
  }
  // In float64, as torch: the reciprocal of a scale that is no power of 2 would be rounded twice.
  const auto inverse = scale_.to(at::kDouble).reciprocal().to(at::kFloat);
  auto found = at::zeros({}, scale_.options());
  for (auto& [type, gradients] : by_type)
    at::_amp_foreach_non_finite_check_and_unscale_(gradients, found, inverse);
  found_.emplace(&optimizer, std::move(found));
}

StepInputs GradScaler::inputs_for(Optimizer& optimizer) {
  if (!is_unscaled(optimizer)) unscale(optimizer);
  stepped_.push_back(found_.extract(&optimizer).mapped());
  return {.grad_scale = {}, .found_inf = stepped_.back()};
}

void GradScaler::update() {
  for (auto& [optimizer, found] : found_) stepped_.push_back(found);
  if (stepped_.empty())
    throw std::logic_error("GradScaler: update() without a step: no gradients were unscaled since the last");
  const torch::NoGradGuard no_grad;
  auto found = stepped_.front().clone();
  for (std::size_t i = 1; i < stepped_.size(); ++i) found += stepped_[i];
  at::_amp_update_scale_(scale_, tracker_, found, options_.growth_factor, options_.backoff_factor,
                         options_.growth_interval);
  reset();
}

double GradScaler::get_scale() const {
  return scale_.defined() ? scale_.item<double>() : options_.init_scale;
}

nlohmann::json GradScaler::state() const {
  return {{kScale, get_scale()},
          {kGrowth, options_.growth_factor},
          {kBackoff, options_.backoff_factor},
          {kInterval, options_.growth_interval},
          {kTracker, tracker_.defined() ? tracker_.item<std::int64_t>() : first_tracker_}};
}

void GradScaler::load_state(const nlohmann::json& state) {
  const auto number = [&](const char* name) {
    const auto found = state.is_object() ? state.find(name) : state.end();
    if (!state.is_object() || found == state.end() || !found->is_number())
      throw std::invalid_argument(std::string("GradScaler: the state has no number \"") + name + "\"");
    return *found;
  };
  const GradScalerOptions loaded{number(kScale).get<double>(), number(kGrowth).get<double>(),
                                 number(kBackoff).get<double>(), number(kInterval).get<std::int64_t>()};
  const auto tracker = number(kTracker).get<std::int64_t>();
  auto faults = faults_of(loaded);
  if (tracker < 0)
    faults += "\n  " + std::string(kTracker) + " is " + std::to_string(tracker) + ", expected 0 or more";
  if (!faults.empty()) throw std::invalid_argument("GradScaler: the state cannot be used:" + faults);
  options_ = loaded;
  first_tracker_ = tracker;
  scale_.reset();  // the next loss says where
  tracker_.reset();
  reset();
}

}  // namespace rtrain
