// Runs of a module on one process and on ranks that share its batches, to compare.
#pragma once

#include "tests/support/ranks.h"

#include <rtrain/rtrain.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace rtrain::test {

using Tensors = std::map<std::string, torch::Tensor>;

/// The parameters, whole, and the metrics after a fit.
inline Tensors fitted(LightningModule& module, TrainerOptions options, const DataLoader& loader) {
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(module, loader, loader);
  Tensors result;
  full_parameters(module, [&] {
    for (const auto& item : module.named_parameters())
      result.emplace(item.key(), item.value().detach().clone());
  });
  for (const auto& item : module.named_buffers()) result.emplace(item.key(), item.value().clone());
  for (const auto& [name, value] : trainer.callback_metrics())
    result.emplace("metric " + name, torch::scalar_tensor(value, torch::kFloat64));
  return result;
}

inline void check_close(const Tensors& a, const Tensors& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    INFO(name);
    REQUIRE(b.contains(name));
    CHECK((tensor.to(torch::kFloat64) - b.at(name).to(torch::kFloat64)).abs().max().item<double>() <
          tolerance);
  }
}

/// What `fit` returns on each of `world` ranks.
inline std::vector<Tensors> results_of(int world, const std::function<Tensors(int rank)>& fit) {
  const Folder folder;
  const auto codes =
      run_ranks(world, [&](int rank) { save_safetensors(folder / std::to_string(rank), {fit(rank), {}}); });
  REQUIRE(codes == std::vector<int>(static_cast<std::size_t>(world), 0));
  std::vector<Tensors> all;
  for (int rank = 0; rank < world; ++rank)
    all.push_back(load_safetensors(folder / std::to_string(rank)).tensors);
  return all;
}

struct Comparison {
  std::shared_ptr<Dataset> data;
  std::function<std::shared_ptr<LightningModule>()> make;  ///< seeded by the caller
  std::function<AnyStrategy()> strategy;
  std::function<TrainerOptions()> options = [] { return TrainerOptions{.max_epochs = 1}; };
  std::int64_t batch_size = 2;  ///< of a rank
  double tolerance = 1e-9;
};

/// What one process has that trains the joined batches of `world` ranks.
inline Tensors fitted_alone(const Comparison& one, int world) {
  torch::manual_seed(100);
  const auto module = one.make();
  auto options = one.options();
  options.strategy = "single_device";
  const auto sampler = std::make_shared<DistributedSampler>(
      one.data->size(), DistributedSamplerOptions{.num_replicas = 1, .rank = 0});
  return fitted(*module, std::move(options),
                DataLoader(one.data, {.batch_size = one.batch_size * world, .sampler = sampler}));
}

/// `world` ranks under the strategy end with what is expected.
inline void check_against(const Tensors& expected, const Comparison& one, int world) {
  const auto results = results_of(world, [&](int rank) {
    torch::manual_seed(static_cast<std::uint64_t>(100 + rank));  // rank 0's parameters count
    const auto module = one.make();
    auto options = one.options();
    options.strategy = one.strategy();
    return fitted(*module, std::move(options),
                  DataLoader(one.data, {.batch_size = one.batch_size, .shuffle = true}));
  });
  for (const auto& after : results) check_close(expected, after, one.tolerance);
}

/// `world` ranks under the strategy end with what one process has that trains the joined batches.
inline void check_against_alone(const Comparison& one, int world) {
  check_against(fitted_alone(one, world), one, world);
}

}  // namespace rtrain::test
