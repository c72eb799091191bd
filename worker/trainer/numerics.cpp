#include "worker/trainer/numerics.h"

#include "worker/run/warn.h"

#include <ATen/Context.h>

#include <cstdlib>

namespace rtrain {

void check_numerics(const TrainerOptions& o, const std::function<void(std::string)>& add) {
  if (o.matmul_precision && *o.matmul_precision != "highest" && *o.matmul_precision != "high" &&
      *o.matmul_precision != "medium") {
    add("matmul_precision is \"" + *o.matmul_precision + "\", expected \"highest\", \"high\" or \"medium\"");
  }
  if (o.deterministic && o.deterministic->text() != "true" && o.deterministic->text() != "false" &&
      o.deterministic->text() != "warn")
    add("deterministic is \"" + o.deterministic->text() + "\", expected true, false or \"warn\"");
}

void set_numerics(const TrainerOptions& o) {
  auto& context = at::globalContext();
  const bool deterministic = o.deterministic && o.deterministic->is_on();
  if (deterministic && o.benchmark.value_or(false)) {
    warn(
        "Trainer: benchmark and deterministic are both set: cuDNN takes the fastest of its deterministic "
        "algorithms, which may be another one in the next run");
  }
  if (o.benchmark || deterministic) context.setBenchmarkCuDNN(o.benchmark.value_or(false));
  if (o.deterministic) {
    context.setDeterministicAlgorithms(deterministic, o.deterministic->only_warns());
    context.setDeterministicCuDNN(deterministic);
  }
  // cuBLAS reads it when the process makes its first handle; an environment of the user's own stays.
  if (deterministic) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  if (o.matmul_precision) context.setFloat32MatmulPrecision(*o.matmul_precision);
}

}  // namespace rtrain
