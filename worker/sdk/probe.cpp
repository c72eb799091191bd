#include "worker/sdk/probe.h"

#include "proto/record/check.h"
#include "worker/comm/gloo_loopback.h"

#include <torch/torch.h>

#ifdef RTRAIN_WITH_NCCL
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/cuda/nccl.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace rtrain::sdk {
namespace {

using proto::Check;
using proto::Health;
using Clock = std::chrono::steady_clock;

std::string rounded(double value) {
  std::string text(32, '\0');
  text.resize(
      static_cast<std::size_t>(std::snprintf(text.data(), text.size(), value < 10 ? "%.2f" : "%.0f", value)));
  return text;
}

/// Seconds that one call of `work` takes: after a first one, as often as fits into `budget_s`, at least three
/// times.
template <class Work, class Wait>
double seconds_of(double budget_s, Work work, Wait wait) {
  work();
  wait();
  const auto begun = Clock::now();
  int count = 0;
  double passed = 0;
  do {
    work();
    if (++count % 3 == 0) wait();
    passed = std::chrono::duration<double>(Clock::now() - begun).count();
  } while (count < 3 || (passed < budget_s && count < 1000));
  wait();
  return std::chrono::duration<double>(Clock::now() - begun).count() / count;
}

double product_flops(std::int64_t size) {
  return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size);
}

Check look_at_libtorch() {
  Check check{"libtorch", Health::kOk, std::string("LibTorch ") + TORCH_VERSION, "", {}};
#ifdef RTRAIN_WITH_NCCL
  const long cuda = at::detail::getCUDAHooks().hasCUDART() ? at::detail::getCUDAHooks().versionCUDART() : 0;
  if (cuda > 0)
    check.detail += ", CUDA " + std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10);
  const auto nccl = torch::cuda::nccl::version();
  check.detail += ", NCCL " + std::to_string(nccl >> 32) + "." + std::to_string(nccl >> 16 & 0xFFFF) + "." +
                  std::to_string(nccl & 0xFFFF);
  check.figures["cuda"] = cuda;
#else
  check.detail += " without CUDA";
#endif
  return check;
}

Check look_at_cpu() {
  constexpr std::int64_t kSize = 1024;
  const auto a = torch::rand({kSize, kSize}), b = torch::rand({kSize, kSize});
  const double gflops = product_flops(kSize) / 1e9 / seconds_of(0.2, [&] { (void)a.matmul(b); }, [] {});
  Check check{"cpu", Health::kOk, "", "", {}};
  check.detail = std::to_string(torch::get_num_threads()) + " threads, " + rounded(gflops) +
                 " GFLOP/s in a float32 product";
  check.figures = {{"threads", torch::get_num_threads()}, {"product_gflop_s", gflops}};
  return check;
}

Check look_at_gloo() {
  const auto [sums, ms] = comm::reduce_over_loopback(std::chrono::seconds(5));
  if (sums[0] != 3 || sums[1] != 3)
    return {"gloo",
            Health::kFailure,
            "an all-reduce of 1 and 2 over loopback gave " + rounded(sums[0]) + " and " + rounded(sums[1]),
            "memory or processor computes wrongly: take the node out of service (rtrain node cordon NODE) "
            "and test both",
            {}};
  return {"gloo",
          Health::kOk,
          "two ranks met and reduced over loopback in " + rounded(ms) + " ms",
          "",
          {{"rendezvous_ms", ms}}};
}

#ifdef RTRAIN_WITH_NCCL

Check look_at_gpu(int index) {
  constexpr std::int64_t kCopyBytes = std::int64_t{512} << 20, kHostBytes = std::int64_t{128} << 20,
                         kSize = 8192;
  const std::string name = "gpu " + std::to_string(index);
  const torch::Device device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  const auto wait = [&] { torch::cuda::synchronize(index); };
  const auto bytes = torch::TensorOptions().dtype(torch::kUInt8);
  double copy = 0, from_host = 0;
  {
    const auto from = torch::zeros({kCopyBytes}, bytes.device(device));
    const auto to = torch::empty_like(from);
    // A copy reads and writes each byte.
    copy = 2.0 * kCopyBytes / 1e9 / seconds_of(0.3, [&] { to.copy_(from); }, wait);
  }
  {
    const auto host = torch::zeros({kHostBytes}, bytes.pinned_memory(true));
    const auto to = torch::empty({kHostBytes}, bytes.device(device));
    from_host = static_cast<double>(kHostBytes) / 1e9 /
                seconds_of(0.3, [&] { to.copy_(host, /*non_blocking=*/true); }, wait);
  }
  const auto a = torch::rand({kSize, kSize}, torch::TensorOptions().device(device)).to(torch::kBFloat16);
  const double product = product_flops(kSize) / 1e12 / seconds_of(0.5, [&] { (void)a.matmul(a); }, wait);
  const auto one = torch::ones({256, 256}, torch::TensorOptions().device(device));
  if (one.matmul(one)[0][0].item<float>() != 256.0F)
    return {name,
            Health::kFailure,
            "a product of ones is wrong",
            "take the node out of service (rtrain node cordon NODE) and test the GPU: dcgmi diag -r 3",
            {}};
  return {name,
          Health::kOk,
          "copy " + rounded(copy) + " GB/s, from pinned memory " + rounded(from_host) +
              " GB/s, bfloat16 product " + rounded(product) + " TFLOP/s",
          "",
          {{"copy_gb_s", copy}, {"from_host_gb_s", from_host}, {"product_bf16_tflop_s", product}}};
}

Check look_at_nccl(int gpus) {
  constexpr std::int64_t kCount = std::int64_t{16} << 20;
  std::vector<torch::Tensor> values;
  double sum = 0;
  for (int index = 0; index < gpus; ++index) {
    values.push_back(
        torch::full({kCount}, static_cast<float>(index) + 1.0F,
                    torch::TensorOptions().device(torch::kCUDA, static_cast<c10::DeviceIndex>(index))));
    sum += index + 1.0;
  }
  auto reduced = values;
  for (auto& value : reduced) value = torch::empty_like(value);
  const auto wait = [&] {
    for (int index = 0; index < gpus; ++index) torch::cuda::synchronize(index);
  };
  const double seconds = seconds_of(0.3, [&] { torch::cuda::nccl::all_reduce(values, reduced); }, wait);
  for (const auto& value : reduced)
    if (value[0].item<float>() != static_cast<float>(sum))
      return {"nccl",
              Health::kFailure,
              "an all-reduce over " + std::to_string(gpus) + " GPUs gave a wrong sum",
              "rtrain-worker --probe with NCCL_DEBUG=INFO shows the links it took: nvidia-smi topo -m, "
              "nvidia-smi nvlink -e",
              {}};
  if (gpus == 1)
    return {"nccl", Health::kOk, "starts; there is one GPU, so nothing was reduced between GPUs", "", {}};
  // What crosses the slowest link: 2(n-1)/n of the data (nccl-tests, "bus bandwidth").
  const double gb_s = 2.0 * (gpus - 1) / gpus * static_cast<double>(kCount) * 4 / 1e9 / seconds;
  return {"nccl",
          Health::kOk,
          "all-reduce over " + std::to_string(gpus) + " GPUs: " + rounded(gb_s) + " GB/s bus bandwidth",
          "",
          {{"bus_gb_s", gb_s}}};
}

#endif

}  // namespace

Check failed_check(const std::string& name, const std::exception_ptr& error, const std::string& hint) {
  const auto failed = [&](std::string detail, const std::string& way_out) {
    detail.resize(std::min(detail.find('\n'), detail.size()));  // c10 adds the place in its sources
    return Check{name, Health::kFailure, std::move(detail), way_out, {}};
  };
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return failed("no memory is left for it",
                  "free memory, or raise its limit: ulimit -v, that of the container or of the service");
  } catch (const std::system_error& unavailable) {
    if (unavailable.code() == std::errc::resource_unavailable_try_again)
      return failed(
          std::string("no thread can be started: ") + unavailable.what(),
          "raise the limit of processes and threads: ulimit -u, that of the container or of the service");
    return failed(unavailable.what(), hint);
  } catch (const std::exception& other) {
    return failed(other.what(), hint);
  } catch (...) {
    return failed("threw what is not a std::exception", hint);
  }
}

void probe(const std::function<void(const std::string&)>& told) {
  const auto tell = [&](const Check& check) { told(proto::dump_json(proto::Json(check))); };
  const auto look = [&](const std::string& name, const auto& at, const std::string& hint) {
    try {
      tell(at());
    } catch (...) {
      tell(failed_check(name, std::current_exception(), hint));
    }
  };
  const std::string by_hand = "rtrain-worker --probe by hand shows all that LibTorch says";
  look("libtorch", look_at_libtorch, by_hand);
  look("cpu", look_at_cpu, by_hand);
  look("gloo", look_at_gloo,
       "ranks on this machine talk to each other over 127.0.0.1: ip link set lo up, and let no firewall stop "
       "it");
#ifdef RTRAIN_WITH_NCCL
  const int gpus = c10::cuda::device_count();
  for (int index = 0; index < gpus; ++index)
    look(
        "gpu " + std::to_string(index), [index] { return look_at_gpu(index); },
        "nvidia-smi shows what uses the GPU, dmesg what the driver met (NVRM, Xid)");
  if (gpus > 0)
    look(
        "nccl", [gpus] { return look_at_nccl(gpus); },
        "rtrain-worker --probe with NCCL_DEBUG=INFO shows what NCCL met");
#else
  const int gpus = 0;
#endif
  tell({"gpus of libtorch", Health::kOk, std::to_string(gpus), "", {{"gpus", gpus}}});
}

}  // namespace rtrain::sdk
