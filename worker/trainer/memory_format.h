// TrainerOptions::channels_last.
#pragma once

#include <torch/nn/module.h>

namespace rtrain {

/// Lays parameters of 4 dimensions out as NHWC; sizes, values and names stay. Gradients and the state of
/// optimizers follow.
void lay_out_channels_last(torch::nn::Module& module);

}  // namespace rtrain
