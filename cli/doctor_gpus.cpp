#include "cli/doctor_gpus.h"

#include "cli/limited_child.h"
#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {
namespace {

using proto::Check;
using proto::Health;

std::string cuda_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Check judge_gpu(const os::Gpu& gpu, const os::GpuState* state) {
  Check check{"nvml " + std::to_string(gpu.index),
              Health::kOk,
              gpu.name + ", " + bytes(static_cast<double>(gpu.memory_bytes)),
              "",
              {{"memory_bytes", gpu.memory_bytes}}};
  if (state == nullptr) return check;
  if (state->sm_clock_mhz > 0)
    check.detail += ", " + std::to_string(state->sm_clock_mhz) + " of " +
                    std::to_string(state->sm_clock_max_mhz) + " MHz";
  if (state->temperature_c > 0) check.detail += ", " + std::to_string(state->temperature_c) + " C";
  check.figures["memory_used_bytes"] = state->memory_used_bytes;
  if (state->uncorrected_errors.value_or(0) > 0) {
    check.health = Health::kFailure;
    check.detail += ", " + std::to_string(*state->uncorrected_errors) + " uncorrected memory errors";
    check.hint =
        "its memory fails: take the node out of service (rtrain node cordon NODE), then reset or replace the "
        "GPU";
  } else if (!state->processes.empty()) {
    check.health = Health::kWarning;
    check.detail +=
        ", in use by process " + std::to_string(state->processes.front()) +
        (state->processes.size() > 1 ? " and " + std::to_string(state->processes.size() - 1) + " more" : "");
    check.hint = "a job that gets this GPU shares it with them: end them, or wait for their end";
  }
  return check;
}

}  // namespace

std::vector<Check> judge_gpus(const HostFacts& facts) {
  if (!facts.nvml.problem.empty() && !facts.nvml.was_asked)
    return {{"gpus", Health::kFailure, facts.nvml.problem, kRaiseLimits, {}}};
  if (!facts.nvml.problem.empty())
    return {{"gpus",
             Health::kFailure,
             facts.nvml.problem,
             "dmesg says what the driver met (NVRM, Xid); reload it or reboot, and see whether nvidia-smi "
             "answers",
             {}}};
  std::vector<Check> checks;
  for (const auto& gpu : facts.nvml.gpus.gpus) {
    const auto state = std::ranges::find(facts.nvml.states, gpu.index, &os::GpuState::index);
    checks.push_back(judge_gpu(gpu, state == facts.nvml.states.end() ? nullptr : &*state));
  }
  return checks;
}

std::vector<Check> judge_cuda(const HostFacts& facts, int libtorch_cuda, int libtorch_gpus) {
  if (!facts.nvml.problem.empty()) return {};  // judge_gpus() has said it
  const int gpus = static_cast<int>(facts.nvml.gpus.gpus.size()), driver = facts.nvml.gpus.cuda_version;
  const std::string counts =
      "NVML sees " + std::to_string(gpus) + ", LibTorch " + std::to_string(libtorch_gpus);
  if (gpus == 0 && libtorch_gpus == 0 && !facts.nvidia_devices)
    return {{"gpus", Health::kOk, "none: jobs train on the CPU", "", {{"gpus", 0}}}};
  if (gpus == 0 && facts.nvidia_devices)
    return {{"gpus",
             Health::kFailure,
             "/dev/nvidia0 is there, but NVML (libnvidia-ml.so.1) cannot be loaded or does not start",
             "install the driver's libraries; a container gets them from the NVIDIA runtime (docker run "
             "--gpus all)",
             {}}};
  if (libtorch_cuda == 0)
    return {{"gpus",
             Health::kFailure,
             counts + ": this LibTorch has no CUDA",
             "take an rtrain and a LibTorch that were built for CUDA",
             {{"gpus", gpus}}}};
  if (driver > 0 && driver / 1000 < libtorch_cuda / 1000)
    return {{"gpus",
             Health::kFailure,
             "driver " + facts.nvml.gpus.driver_version + " serves CUDA " + cuda_text(driver) +
                 ", LibTorch needs " + cuda_text(libtorch_cuda),
             "install a newer driver, or take an rtrain and a LibTorch that were built for CUDA " +
                 cuda_text(driver),
             {{"gpus", gpus}}}};
  if (gpus != libtorch_gpus)
    return {
        {"gpus",
         libtorch_gpus == 0 ? Health::kFailure : Health::kWarning,
         counts,
         "unset CUDA_VISIBLE_DEVICES if it hides GPUs; dmesg says whether one fell off the bus (NVRM, Xid)",
         {{"gpus", gpus}}}};
  return {
      {"gpus",
       Health::kOk,
       std::to_string(gpus) + ", driver " + facts.nvml.gpus.driver_version + " for CUDA " + cuda_text(driver),
       "",
       {{"gpus", gpus}}}};
}

}  // namespace rtrain::cli
