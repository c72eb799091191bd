#include "worker/comm/gloo_loopback.h"

#include "worker/comm/backends.h"

#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <exception>
#include <thread>

namespace rtrain::comm {

LoopbackReduction reduce_over_loopback(std::chrono::milliseconds limit) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto begun = std::chrono::steady_clock::now();
  LoopbackReduction result;
  std::array<std::exception_ptr, 2> failed;
  const auto rank_main = [&](std::size_t rank) {
    try {
      const auto gloo = make_gloo_backend(store, {.rank = static_cast<int>(rank),
                                                  .world_size = 2,
                                                  .address = "127.0.0.1",
                                                  .timeout = limit,
                                                  .init_timeout = limit});
      std::vector<torch::Tensor> values{torch::full({1024}, static_cast<float>(rank) + 1)};
      gloo->allreduce(values)->wait();
      result.sums.at(rank) = values[0][0].item<float>();
    } catch (...) {
      failed.at(rank) = std::current_exception();
    }
  };
  std::thread other(rank_main, 1);
  rank_main(0);
  other.join();
  for (const auto& error : failed)
    if (error) std::rethrow_exception(error);
  result.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
  return result;
}

}  // namespace rtrain::comm
