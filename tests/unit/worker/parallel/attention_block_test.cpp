#include "tests/support/attention_blocks.h"

#include <ATen/Context.h>

namespace attention_block_test {

using rtrain::test::check_attention_blocks;

TEST_CASE("attention blocks: LibTorch's kernel for the CPU", "[unit][parallel]") {
  check_attention_blocks(torch::kCPU, torch::kFloat64, 1e-12);
  check_attention_blocks(torch::kCPU, torch::kFloat32, 1e-4);
  check_attention_blocks(torch::kCPU, torch::kBFloat16, 0.1);
}

TEST_CASE("attention blocks: plain products where there is no kernel", "[unit][parallel]") {
  struct WithoutFlash {
    WithoutFlash() { at::globalContext().setSDPUseFlash(false); }
    ~WithoutFlash() { at::globalContext().setSDPUseFlash(true); }
  } const without;
  check_attention_blocks(torch::kCPU, torch::kFloat64, 1e-12);
  check_attention_blocks(torch::kCPU, torch::kBFloat16, 0.1);
}

}  // namespace attention_block_test
