#include "worker/supervision/load_time.h"

#include "tests/support/catch.h"

namespace load_time_test {

using namespace rtrain::supervision;

TEST_CASE("load time: which variables a forked rank would never see", "[F25]") {
  for (const char* name :
       {"LD_LIBRARY_PATH", "LD_PRELOAD", "TORCH_SHOW_CPP_STACKTRACES", "PYTORCH_CUDA_ALLOC_CONF",
        "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "MALLOC_ARENA_MAX",
        "GLIBC_TUNABLES", "ATEN_CPU_CAPABILITY", "ONEDNN_VERBOSE"}) {
    INFO(name);
    CHECK(is_read_at_load(name));
  }
  for (const char* name :
       {"OMP_NUM_THREADS", "PATH", "HOME", "LR", "NCCL_DEBUG", "CUDA_LAUNCH_BLOCKING", "LDX", "TORCHX"}) {
    INFO(name);
    CHECK_FALSE(is_read_at_load(name));
  }
}

TEST_CASE("load time: only what differs from the loaded process costs another start", "[F25]") {
  const VariableMap loaded{{"LD_LIBRARY_PATH", "/opt/torch/lib"}, {"MKL_NUM_THREADS", "4"}, {"PATH", "/bin"}};
  CHECK(read_too_early({{"LR", "0.1"}, {"OMP_NUM_THREADS", "8"}, {"PATH", "/usr/bin"}}, loaded).empty());
  CHECK(read_too_early({{"MKL_NUM_THREADS", "4"}, {"LD_LIBRARY_PATH", "/opt/torch/lib"}}, loaded).empty());
  CHECK(read_too_early({{"LD_PRELOAD", "x.so"}, {"MKL_NUM_THREADS", "2"}, {"A", "1"}}, loaded) ==
        std::vector<std::string>{"LD_PRELOAD", "MKL_NUM_THREADS"});
}

TEST_CASE("load time: LibTorch is found where it was, after the job's own folders", "[F25]") {
  const VariableMap loaded{{"LD_LIBRARY_PATH", "/opt/torch/lib"}};
  CHECK(library_path({{"LD_LIBRARY_PATH", "/my/lib"}}, loaded) == "/my/lib:/opt/torch/lib");
  CHECK(library_path({{"LD_PRELOAD", "x.so"}}, loaded) == "/opt/torch/lib");
  CHECK(library_path({{"LD_LIBRARY_PATH", "/my/lib"}}, {}) == "/my/lib");
  CHECK(library_path({{"LD_LIBRARY_PATH", "/opt/torch/lib"}}, loaded) == "/opt/torch/lib");
  CHECK(library_path({}, {}).empty());
}

}  // namespace load_time_test
