// The precision that TrainerOptions::precision means on a device.
#pragma once

#include <rtrain/precision.h>

#include <torch/types.h>

#include <functional>
#include <memory>
#include <string>

namespace rtrain {

/// Warns where Lightning does: of the names 16 and "bf16", and of "16-mixed" on the CPU, which becomes
/// "bf16-mixed" there. A precision that is given as an object stays as it is.
/// @param add gets what cannot be used. @return never null.
[[nodiscard]] std::shared_ptr<Precision> choose_precision(const AnyPrecision& choice, torch::Device device,
                                                          const std::function<void(std::string)>& add);

}  // namespace rtrain
