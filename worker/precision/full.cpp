// 32-true, which is the base class, and 64-true.
#include <rtrain/names.h>
#include <rtrain/plan.h>
#include <rtrain/precision.h>

#include "worker/precision/cast.h"

namespace rtrain {

void Precision::step(Plan& plan, Optimizer& optimizer) { plan.step(optimizer, {}); }

PrecisionScope DoublePrecision::init_scope() { return default_dtype_scope(torch::kFloat64); }
void DoublePrecision::convert_module(torch::nn::Module& module) { cast_module(module, torch::kFloat64); }
Batch DoublePrecision::convert_input(Batch batch) { return cast_input(std::move(batch), torch::kFloat64); }
PrecisionScope DoublePrecision::forward_scope(torch::Device) { return default_dtype_scope(torch::kFloat64); }

RTRAIN_REGISTER(Precision, "32-true", Precision);
RTRAIN_REGISTER(Precision, "32", Precision);
RTRAIN_REGISTER(Precision, "64-true", DoublePrecision);
RTRAIN_REGISTER(Precision, "64", DoublePrecision);

}  // namespace rtrain
