#include "worker/sdk/join.h"

#include "worker/sdk/group.h"

#include <rtrain/context.h>
#include <rtrain/process_group.h>

#include "common/base/duration.h"
#include "worker/runtime/run_within.h"
#include "worker/sdk/job.h"
#include "worker/sdk/rank_end.h"
#include "worker/sdk/rank_failure.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain {
namespace sdk {
namespace {

/// NCCL takes one rank a GPU: ranks that have shares of one may be on the same.
bool shares_gpu(const runtime::Environment& environment) {
  const auto resources = environment.launch.spec.scaling_config.resources();
  const auto gpu = resources.find("GPU");
  return gpu != resources.end() && gpu->second < 1;
}

bool uses_nccl(const runtime::Environment& environment) {
  const std::string& backend = environment.launch.spec.torch_config.backend;
  return backend.find("nccl") != std::string::npos ||
         (backend == "auto" && environment.gpus > 0 && !shares_gpu(environment));
}

/// Driver, context, memory, a kernel and a copy: what is broken or held by another fails here, and not in the
/// training function, which would be blamed for it.
void use_once(torch::Device device) {
  constexpr std::int32_t kDriverMismatch = 803;  // cudaErrorSystemDriverMismatch
  const auto unusable = [&](const std::string& why = "") {
    return DeviceError("the GPU " + device.str() + " of this rank cannot be used: " +
                       rank_failure(std::current_exception(), "hardware").message + why);
  };
  try {
    c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
    if (torch::ones({1}, device).item<float>() != 1) throw DeviceError("it computes wrongly");
  } catch (const c10::AcceleratorError& error) {
    // LibTorch loads libcuda.so in the agent's zygote, whose memory the ranks inherit.
    throw unusable(error.get_error_code() == kDriverMismatch
                       ? " (after an update of the node's driver, restart its agent)"
                       : "");
  } catch (...) {
    throw unusable();
  }
}

}  // namespace

void take_device(const runtime::Environment& e) {
  const auto devices = get_devices();
  if (!devices.front().is_cuda()) {
    if (uses_nccl(e))
      throw std::runtime_error(
          "torch_config.backend is nccl, but this rank holds no GPU: set scaling_config.use_gpu");
    return;
  }
  // A driver that hangs is not waited for: nobody watches the rank yet.
  const auto limit = to_milliseconds(e.launch.spec.torch_config.init_timeout_s);
  try {
    runtime::run_within(limit,
                        "the GPUs of this rank did not answer within torch_config.init_timeout_s (" +
                            std::to_string(limit.count() / 1000) + " s)",
                        [devices] { std::ranges::for_each(devices, use_once); });
  } catch (const DeviceError&) {
    throw;
  } catch (const std::exception& error) {
    throw DeviceError(error.what());
  }
  c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).setDevice(devices.front());
}

void name_dump_files(const runtime::Environment& e) {
  // c10d takes the first of the two, and adds the number of the rank.
  constexpr const char* kName = "TORCH_FR_DUMP_TEMP_FILE";
  if (e.gpus <= 0 || e.rank_dir.empty() || std::getenv(kName) != nullptr ||
      std::getenv("TORCH_NCCL_DEBUG_INFO_TEMP_FILE") != nullptr)
    return;
  ::setenv(kName, (e.rank_dir + "/nccl_trace_rank_").c_str(), 1);
}

void join_process_group(const runtime::Environment& e) {
  const auto& config = e.launch.spec.torch_config;
  Job::current().join({.backend = uses_nccl(e) ? "nccl" : "gloo",
                       .rank = e.rank,
                       .world_size = e.world_size,
                       .master_addr = e.master_addr,
                       .master_port = e.master_port,
                       .node_address = e.node_address,
                       .timeout = to_milliseconds(config.timeout_s),
                       .init_timeout = to_milliseconds(config.init_timeout_s),
                       .device = get_device()});
}

void join_group(const comm::JobGroupOptions& options) { Job::current().join(options); }
void leave_group() { Job::current().leave(); }
runtime::KeyValueStore* group_store() {
  const auto* group = Job::current().group();
  return group != nullptr ? group->store() : nullptr;
}

}  // namespace sdk

Communicator& process_group() {
  const auto* group = sdk::Job::current().group();
  if (group == nullptr)
    throw std::logic_error(
        "process_group(): this process has not joined its job's group: a training function has, another "
        "program calls rtrain::init_process_group() first");
  return *group->communicator();
}

JoinedGroup::JoinedGroup() : exceptions_(std::uncaught_exceptions()) {}
JoinedGroup::JoinedGroup(JoinedGroup&& other) noexcept
    : joined_(std::exchange(other.joined_, false)), exceptions_(other.exceptions_) {}

JoinedGroup::~JoinedGroup() {
  if (!joined_) return;
  // On the way out by an exception the other ranks are not waited for: they wait for this one.
  if (std::uncaught_exceptions() > exceptions_) return;
  sdk::Job::current().flush_at_exit();
  sdk::Job::current().leave();
}

JoinedGroup init_process_group() {
  auto& job = sdk::Job::current();
  if (job.group() != nullptr)
    throw std::logic_error(
        "init_process_group(): this process has joined its job's group already; a training function is "
        "entered with it joined");
  const auto& environment = job.environment();
  if (!environment.in_job) {
    job.join({});
    return {};
  }
  std::signal(SIGPIPE, SIG_IGN);  // a peer that is gone is an error of that collective
  sdk::install_terminate_handler(
      [&environment](const std::exception_ptr& failure) { sdk::end_from_any_thread(environment, failure); });
  sdk::name_dump_files(environment);
  job.will_join();
  job.connect();
  if (environment.rank == 0)
    if (auto prepared = job.prepare_run_dir(); !prepared)
      throw std::runtime_error("the run's folder: " + prepared.error().message());
  sdk::take_device(environment);
  sdk::join_process_group(environment);
  return {};
}

}  // namespace rtrain
