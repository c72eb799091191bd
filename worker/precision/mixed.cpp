// bf16-mixed and 16-mixed.
#include <rtrain/names.h>
#include <rtrain/plan.h>
#include <rtrain/precision.h>

#include <stdexcept>

namespace rtrain {
namespace {

torch::ScalarType mixed_type(const std::string& precision) {
  if (precision == "bf16-mixed") return torch::kBFloat16;
  if (precision == "16-mixed") return torch::kHalf;
  throw std::invalid_argument("MixedPrecision: precision is \"" + precision +
                              "\", expected \"bf16-mixed\" or \"16-mixed\"");
}

struct BFloat16Mixed final : MixedPrecision {
  BFloat16Mixed() : MixedPrecision("bf16-mixed") {}
};
struct Float16Mixed final : MixedPrecision {
  Float16Mixed() : MixedPrecision("16-mixed") {}
};

}  // namespace

MixedPrecision::MixedPrecision(const std::string& precision, std::optional<GradScalerOptions> scaler)
    : name_(precision), dtype_(mixed_type(precision)) {
  if (dtype_ == torch::kHalf) {
    scaler_.emplace(scaler.value_or(GradScalerOptions()));
  } else if (scaler) {
    throw std::invalid_argument(
        "MixedPrecision: \"bf16-mixed\" scales no loss, because bfloat16 has the range of float32: leave the "
        "scaler out");
  }
}

/// Converts nothing; a run before may have ended between unscale() and update().
void MixedPrecision::convert_module(torch::nn::Module&) {
  if (scaler_) scaler_->reset();
}

PrecisionScope MixedPrecision::forward_scope(torch::Device device) {
  return std::make_shared<AutocastScope>(device.type(), dtype_);
}

void MixedPrecision::require_supported(const Optimizer& optimizer) const {
  if (scaler_ && optimizer.needs_closure()) {
    throw std::invalid_argument(optimizer.type_name() +
                                " cannot be used with precision \"16-mixed\": it computes the loss several "
                                "times a step; take \"bf16-mixed\" or \"32-true\", or another optimizer");
  }
}

torch::Tensor MixedPrecision::scale(const torch::Tensor& loss) {
  return scaler_ ? scaler_->scale(loss) : loss;
}

void MixedPrecision::unscale(Optimizer& optimizer) {
  if (scaler_ && !scaler_->is_unscaled(optimizer)) scaler_->unscale(optimizer);
}

void MixedPrecision::step(Plan& plan, Optimizer& optimizer) {
  plan.step(optimizer, scaler_ ? scaler_->inputs_for(optimizer) : StepInputs());
}

void MixedPrecision::update() {
  if (scaler_) scaler_->update();
}

nlohmann::json MixedPrecision::state() const { return scaler_ ? scaler_->state() : nlohmann::json(); }

void MixedPrecision::load_state(const nlohmann::json& state) {
  if (scaler_ && !state.is_null()) scaler_->load_state(state);
}

RTRAIN_REGISTER(Precision, "bf16-mixed", BFloat16Mixed);
RTRAIN_REGISTER(Precision, "bf16", BFloat16Mixed);
RTRAIN_REGISTER(Precision, "16-mixed", Float16Mixed);
RTRAIN_REGISTER(Precision, "16", Float16Mixed);

}  // namespace rtrain
