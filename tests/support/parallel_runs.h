// Runs of a module on one process and on ranks that share its layers, to compare.
#pragma once

#include "tests/support/parallel_gpt.h"
#include "tests/support/sharded_runs.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rtrain::test {

/// Sequences of tokens, and what the next ones are.
inline std::shared_ptr<Dataset> sequences(std::int64_t samples, const GptSizes& sizes) {
  const auto x = (torch::arange(samples * sizes.length) * 7919 % 104729 % sizes.vocabulary)
                     .reshape({samples, sizes.length});
  return data::TensorDataset(x, (x * 5 + 3) % sizes.vocabulary);
}

/// The loader of one of `ranks` that read different data. @param batch_size of all of them together
inline DataLoader loader_of(const std::shared_ptr<Dataset>& data, std::int64_t batch_size, int ranks) {
  if (ranks > 1) return {data, {.batch_size = batch_size / ranks, .shuffle = true}};  // the Trainer cuts it
  return {data,
          {.batch_size = batch_size,
           .sampler = std::make_shared<DistributedSampler>(
               data->size(), DistributedSamplerOptions{.num_replicas = 1, .rank = 0})}};
}

/// All parameters, whole, and the metrics.
inline Tensors whole_result(LightningModule& module, const Trainer& trainer) {
  Tensors result;
  full_parameters(module, [&] {
    for (const auto& item : module.named_parameters())
      result.emplace(item.key(), item.value().detach().clone());
    for (const auto& [tensor, partition] : parallel::split_parameters_of(module))
      for (auto& [name, value] : result)
        if (module.named_parameters()[name].is_same(tensor)) value = partition.whole_of(tensor);
  });
  for (const auto& [name, value] : trainer.callback_metrics())
    result.emplace("metric " + name, torch::scalar_tensor(value, torch::kFloat64));
  return result;
}

/// Every rank has what is expected, and the same bits as the others.
inline void check_results(const Tensors& expected, const std::vector<Tensors>& results) {
  for (const auto& after : results) {
    check_close(expected, after, 1e-9);
    for (const auto& [name, tensor] : after) CHECK(torch::equal(tensor, results[0].at(name)));
  }
}

/// Two checkpoints hold the same bits.
inline void check_equal_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const std::string file : {"model.safetensors", "optimizer.safetensors"}) {
    const auto before = load_safetensors(a / file).tensors, after = load_safetensors(b / file).tensors;
    REQUIRE(before.size() == after.size());
    for (const auto& [name, tensor] : before) {
      INFO(file << ", " << name);
      REQUIRE(after.contains(name));
      CHECK(torch::equal(tensor, after.at(name)));
    }
  }
}

}  // namespace rtrain::test
