// What samplers and splits draw, as PyTorch draws it.
#pragma once

#include <cstdint>
#include <vector>

namespace rtrain::data {

/// @throws std::invalid_argument if it is negative.
void require_size(std::int64_t dataset_size);
/// The seed of one epoch's order.
[[nodiscard]] constexpr std::uint64_t seed_of_epoch(std::uint64_t seed, std::int64_t epoch) {
  return seed + static_cast<std::uint64_t>(epoch);
}
/// torch.randperm(size, generator=torch.Generator().manual_seed(seed))
[[nodiscard]] std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed);
/// How many batches so many samples make.
[[nodiscard]] constexpr std::int64_t batches_of(std::int64_t samples, std::int64_t batch_size,
                                                bool drop_last) {
  return drop_last ? samples / batch_size : (samples + batch_size - 1) / batch_size;
}

}  // namespace rtrain::data
