// bf16-true and 16-true.
#include <rtrain/names.h>
#include <rtrain/precision.h>

#include "worker/precision/cast.h"

#include <stdexcept>

namespace rtrain {
namespace {

torch::ScalarType half_type(const std::string& precision) {
  if (precision == "bf16-true") return torch::kBFloat16;
  if (precision == "16-true") return torch::kHalf;
  throw std::invalid_argument("HalfPrecision: precision is \"" + precision +
                              "\", expected \"bf16-true\" or \"16-true\"");
}

struct BFloat16Precision final : HalfPrecision {
  BFloat16Precision() : HalfPrecision("bf16-true") {}
};

}  // namespace

HalfPrecision::HalfPrecision(const std::string& precision) : name_(precision), dtype_(half_type(precision)) {}
PrecisionScope HalfPrecision::init_scope() { return default_dtype_scope(dtype_); }
void HalfPrecision::convert_module(torch::nn::Module& module) { cast_module(module, dtype_); }
Batch HalfPrecision::convert_input(Batch batch) { return cast_input(std::move(batch), dtype_); }
PrecisionScope HalfPrecision::forward_scope(torch::Device) { return default_dtype_scope(dtype_); }

RTRAIN_REGISTER(Precision, "bf16-true", BFloat16Precision);
RTRAIN_REGISTER(Precision, "16-true", HalfPrecision);

}  // namespace rtrain
