// The tests that one GPU is enough for. Without one they are skipped; RTRAIN_TEST_DEVICE=cpu runs those that
// a CPU can run.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

#include "tests/gpu/device.h"

#include <cstdio>

int main(int argc, char** argv) {
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8",
           0);  // what cuBLAS needs to be deterministic; read at its first use
  if (rtrain::test::on_cuda() && !torch::cuda::is_available()) {
    std::puts("skipped: LibTorch finds no GPU here (RTRAIN_TEST_DEVICE=cpu runs what a CPU can)");
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
