// Numbers of a sample's generator, drawn as torchvision draws them of PyTorch's default generator: a
// generator with the same seed gives the same numbers.
#pragma once

#include <rtrain/data/transforms/image_options.h>

#include <ATen/core/Generator.h>

#include <cstdint>
#include <vector>

namespace rtrain::data::transforms::drawn {

/// torch.empty(1).uniform_(min, max): in float32.
[[nodiscard]] double uniform(Range range, at::Generator& generator);
/// torch.exp(torch.empty(1).uniform_(log(min), log(max))): in float32.
[[nodiscard]] double log_uniform(Range range, at::Generator& generator);
/// torch.rand(1)
[[nodiscard]] double fraction(at::Generator& generator);
/// True with probability p, as torchvision decides on it: torch.rand(1) < p.
[[nodiscard]] bool happens(double p, at::Generator& generator);
/// torch.randint(begin, end, (1,)): end is excluded.
[[nodiscard]] std::int64_t integer(std::int64_t begin, std::int64_t end, at::Generator& generator);
/// torch.randperm(size)
[[nodiscard]] std::vector<std::int64_t> permutation(std::int64_t size, at::Generator& generator);

}  // namespace rtrain::data::transforms::drawn
