// deterministic, benchmark, matmul_precision and detect_anomaly.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <ATen/Context.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <cstdlib>

namespace numerics_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::Heard;
using rtrain::test::quiet;

namespace {

/// The switches of the process come back at the end.
struct Switches {
  at::Context& context = at::globalContext();
  bool deterministic = context.deterministicAlgorithms(), warns = context.deterministicAlgorithmsWarnOnly(),
       cudnn = context.deterministicCuDNN(), benchmark = context.benchmarkCuDNN();
  ~Switches() {
    context.setDeterministicAlgorithms(deterministic, warns);
    context.setDeterministicCuDNN(cudnn);
    context.setBenchmarkCuDNN(benchmark);
    context.setFloat32MatmulPrecision("highest");
    ::unsetenv("CUBLAS_WORKSPACE_CONFIG");
  }
};

}  // namespace

TEST_CASE("numerics: options set the switches of the process, and only when they are given",
          "[unit][trainer]") {
  const Switches switches;
  auto& context = switches.context;
  {
    context.setBenchmarkCuDNN(true);
    const Trainer trainer(quiet({}));
    CHECK(context.benchmarkCuDNN());
    CHECK_FALSE(context.deterministicAlgorithms());
    CHECK(std::getenv("CUBLAS_WORKSPACE_CONFIG") == nullptr);
  }
  {
    const Trainer trainer(quiet({.deterministic = true}));
    CHECK(context.deterministicAlgorithms());
    CHECK_FALSE(context.deterministicAlgorithmsWarnOnly());
    CHECK_FALSE(context.benchmarkCuDNN());
    CHECK(std::string(std::getenv("CUBLAS_WORKSPACE_CONFIG")) == ":4096:8");
  }
  {
    const Trainer trainer(quiet({.matmul_precision = "high", .deterministic = "warn"}));
    CHECK(context.deterministicAlgorithmsWarnOnly());
    CHECK(context.float32MatmulPrecision() == at::Float32MatmulPrecision::HIGH);
  }
  {
    const Heard heard;
    const Trainer trainer(quiet({.deterministic = true, .benchmark = true}));
    CHECK(context.benchmarkCuDNN());
    CHECK_THAT(heard.text(), Catch::Contains("benchmark and deterministic are both set"));
  }
  {
    const Trainer trainer(quiet({.deterministic = false, .benchmark = false}));
    CHECK_FALSE(context.deterministicAlgorithms());
    CHECK_FALSE(context.benchmarkCuDNN());
  }
  CHECK_THROWS_WITH(Trainer(quiet({.matmul_precision = "fast", .deterministic = "yes"})),
                    Catch::Contains("matmul_precision is \"fast\"") &&
                        Catch::Contains("deterministic is \"yes\", expected true, false or \"warn\""));
}

TEST_CASE("numerics: detect_anomaly names the operation whose gradient is NaN, during a fit",
          "[unit][trainer]") {
  struct Nan : BoringModel {
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      CHECK(torch::autograd::AnomalyMode::is_enabled());
      return (loss_of(batch) * 0).sqrt() * 0;
    }
  } model;
  const Heard heard;
  Trainer trainer(quiet({.max_epochs = 1, .detect_anomaly = true}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Catch::Contains("returned nan values in its 0th output"));
  CHECK_FALSE(torch::autograd::AnomalyMode::is_enabled());
}

}  // namespace numerics_test
