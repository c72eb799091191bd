#include "worker/comm/backends.h"

#ifdef RTRAIN_WITH_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#else
#include <torch/csrc/distributed/c10d/Backend.hpp>
#endif

#include <stdexcept>

namespace rtrain::comm {

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(
    [[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store,
    [[maybe_unused]] const BackendOptions& options) {
#ifdef RTRAIN_WITH_NCCL
  auto nccl = c10d::ProcessGroupNCCL::Options::create();
  nccl->timeout = options.timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, options.rank, options.world_size, nccl);
#else
  throw std::runtime_error(
      "torch_config.backend: this rtrain was built with a LibTorch without NCCL; use \"gloo\", or build with "
      "a CUDA LibTorch");
#endif
}

}  // namespace rtrain::comm
