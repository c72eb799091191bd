// The kernels that ring attention chooses among.
#include "tests/gpu/device.h"
#include "tests/support/attention_blocks.h"

#include <ATen/Context.h>

using rtrain::test::check_attention_blocks;
using rtrain::test::device;

namespace {

void allow(bool flash, bool efficient, bool cudnn) {
  auto& context = at::globalContext();
  context.setSDPUseFlash(flash);
  context.setSDPUseMemEfficient(efficient);
  context.setSDPUseCuDNN(cudnn);
}

/// Allows some of LibTorch's kernels while it lives.
struct Kernels {
  Kernels(bool flash, bool efficient, bool cudnn) { allow(flash, efficient, cudnn); }
  ~Kernels() { allow(true, true, true); }
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;
};

}  // namespace

TEST_CASE("gpu: blocks of attention in every kernel", "[gpu][parallel]") {
  check_attention_blocks(device(), torch::kFloat64, 1e-10);
  check_attention_blocks(device(), torch::kFloat32, 5e-3);
  check_attention_blocks(device(), torch::kBFloat16, 0.1);
  SECTION("flash") {
    const Kernels only(true, false, false);
    check_attention_blocks(device(), torch::kBFloat16, 0.1);
  }
  SECTION("efficient") {
    const Kernels only(false, true, false);
    check_attention_blocks(device(), torch::kFloat32, 5e-3);
    check_attention_blocks(device(), torch::kBFloat16, 0.1);
  }
  SECTION("cuDNN") {
    const Kernels only(false, false, true);
    check_attention_blocks(device(), torch::kBFloat16, 0.1);
  }
  SECTION("products") {
    const Kernels only(false, false, false);
    check_attention_blocks(device(), torch::kFloat32, 5e-3);
  }
}
