#include "worker/sdk/rank_failure.h"

#include <rtrain/invalid_hyperparameters.h>

#include "tests/support/catch.h"

#include <c10/util/Exception.h>

#include <csignal>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace rank_failure_test {

using namespace rtrain;

namespace {

template <class Failure>
std::exception_ptr thrown(Failure failure) {
  return std::make_exception_ptr(std::move(failure));
}
const c10::SourceLocation kPlace{"f", "f.cpp", 1};
/// As a destructor that throws.
void throw_late() { throw c10::AcceleratorError(kPlace, 710, "x"); }

}  // namespace

TEST_CASE("rank failure: kind and text of what a rank throws", "[unit][sdk]") {
  struct Row {
    const char* name;
    std::exception_ptr failure;
    std::string kind, message;
    bool of_torch_runtime;
  };
  const std::string stack = "\nException raised from f at f.cpp:1 (most recent call first):\nframe #0: g";
  const std::vector<Row> rows{
      {"the user's", thrown(std::runtime_error("loss is NaN")), "exception", "loss is NaN", false},
      {"no exception", thrown(std::string("a string")), "exception",
       "threw a string, not a std::exception: a string", false},
      {"hyperparameters", thrown(InvalidHyperparameters("width 7 is odd")), "invalid_hyperparameters",
       "width 7 is odd", false},
      {"LibTorch's", thrown(c10::Error(kPlace, "shapes differ")), "exception", "shapes differ", false},
      {"out of memory", thrown(c10::OutOfMemoryError(kPlace, "CUDA out of memory")), "exception",
       "CUDA out of memory", false},
      {"a kernel's assert", thrown(c10::AcceleratorError(kPlace, 710, "CUDA error: assert" + stack)),
       "exception", "CUDA error: assert", true},
      {"broken memory", thrown(c10::AcceleratorError(kPlace, 214, "CUDA error: in other words")), "hardware",
       "CUDA error: in other words", true},
      {"an old driver", thrown(c10::AcceleratorError(kPlace, 35, "CUDA error: old")), "hardware",
       "CUDA error: old", true},
      {"a GPU at set-up", thrown(sdk::DeviceError("the GPU cuda:0 of this rank cannot be used: x")),
       "hardware", "the GPU cuda:0 of this rank cannot be used: x", true},
      {"the watchdog's timeout",
       thrown(
           c10::DistBackendError(kPlace, "[Rank 1] Watchdog caught collective operation timeout: W" + stack)),
       "timeout", "[Rank 1] Watchdog caught collective operation timeout: W", true},
      {"NCCL's", thrown(c10::DistBackendError(kPlace, "NCCL error: unhandled cuda error" + stack)),
       "exception", "NCCL error: unhandled cuda error", true},
      {"the store's", thrown(c10::DistStoreError(kPlace, "wait timeout after 5ms")), "exception",
       "wait timeout after 5ms", true},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const auto failure = sdk::rank_failure(row.failure, "exception");
    CHECK(failure.kind == row.kind);
    CHECK(failure.message == row.message);
    CHECK(sdk::is_of_torch_runtime(row.failure) == row.of_torch_runtime);
  }
}

TEST_CASE("rank failure: codes that a training function can cause by itself are not the node's",
          "[unit][sdk]") {
  for (const int code : {1, 2, 101, 209, 700, 701, 702, 710, 716, 719, 801, 900, 999})
    CHECK_FALSE(sdk::is_of_node(code));
  for (const int code : {35, 46, 100, 214, 220, 226, 714, 802, 803}) CHECK(sdk::is_of_node(code));
}

TEST_CASE("rank failure: an exception of c10d that nobody catches is handed over, a user's aborts",
          "[unit][sdk]") {
  const auto end_of = [](void (*act)()) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGABRT, SIG_DFL);
      sdk::install_terminate_handler([](const std::exception_ptr& failure) {
        ::_exit(sdk::rank_failure(failure, "exception").message == "x" ? 7 : 8);
      });
      std::thread(act).join();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  };
  const int handed = end_of([] { throw c10::DistBackendError(kPlace, "x"); });
  CHECK((WIFEXITED(handed) && WEXITSTATUS(handed) == 7));
  const int in_destructor = end_of([]() noexcept { throw_late(); });
  CHECK((WIFEXITED(in_destructor) && WEXITSTATUS(in_destructor) == 7));
  for (const int users : {end_of([] { throw std::runtime_error("x"); }),
                          end_of([] { throw c10::Error(kPlace, "x"); }), end_of([] { std::terminate(); })})
    CHECK((WIFSIGNALED(users) && WTERMSIG(users) == SIGABRT));
}

}  // namespace rank_failure_test
