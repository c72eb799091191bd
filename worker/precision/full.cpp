// 32-true: nothing is converted.
#include <rtrain/names.h>
#include <rtrain/plan.h>
#include <rtrain/precision.h>

namespace rtrain {

void Precision::step(Plan& plan, Optimizer& optimizer) { plan.step(optimizer, {}); }

RTRAIN_REGISTER(Precision, "32-true", Precision);
RTRAIN_REGISTER(Precision, "32", Precision);

}  // namespace rtrain
