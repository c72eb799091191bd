// Where the tests of this program run: RTRAIN_TEST_DEVICE, else the GPU.
#pragma once

#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <cstdlib>
#include <string>

namespace rtrain::test {

/// "cuda" or "cpu"; "cpu" is for trying the tests themselves.
inline std::string device_name() {
  const char* name = std::getenv("RTRAIN_TEST_DEVICE");
  return name == nullptr || *name == '\0' ? "cuda" : name;
}
inline torch::Device device() { return {device_name()}; }
inline bool on_cuda() { return device().is_cuda(); }

/// What the GPU was asked for is done.
inline void synchronize() {
  if (on_cuda()) torch::cuda::synchronize();
}

/// Nothing but the loop, on the device of the test.
inline TrainerOptions on_device(TrainerOptions options, bool gpu = on_cuda()) {
  options.enable_checkpointing = false;
  options.enable_progress_bar = false;
  options.num_sanity_val_steps = 0;
  options.accelerator = gpu ? "gpu" : "cpu";
  return options;
}

}  // namespace rtrain::test
