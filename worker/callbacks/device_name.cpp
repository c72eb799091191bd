#include "worker/callbacks/device_name.h"

#ifdef RTRAIN_WITH_NCCL  // a LibTorch with CUDA, and its headers
#include <ATen/cuda/CUDAContext.h>
#endif

namespace rtrain {

std::string name_of_device(c10::Device device) {
#ifdef RTRAIN_WITH_NCCL
  if (device.is_cuda()) return at::cuda::getDeviceProperties(device.index())->name;
#endif
  (void)device;
  return {};
}

}  // namespace rtrain
