#include "worker/trainer/memory_format.h"

#include <torch/csrc/autograd/grad_mode.h>

namespace rtrain {

void lay_out_channels_last(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : module.parameters())
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
}

}  // namespace rtrain
