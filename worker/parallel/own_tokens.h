// The tokens of a split vocabulary that a rank holds.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

namespace rtrain::parallel {

struct OwnTokens {
  torch::Tensor mine;   ///< bool, of the tokens' shape
  torch::Tensor local;  ///< numbers within this rank's part; 0 where it is another rank's token
};

[[nodiscard]] inline OwnTokens own_tokens(const torch::Tensor& tokens, std::int64_t first,
                                          std::int64_t count) {
  const auto local = tokens - first;
  const auto mine = (local >= 0).logical_and_(local < count);
  return {mine, local.masked_fill(mine.logical_not(), 0)};
}

/// @param excepted true where anything may stand; undefined: nowhere.
/// @throws std::invalid_argument on the CPU: a token outside of [0, vocabulary) (names it). On a GPU the
/// kernel stops the process, as those of torch::embedding do.
void require_in_vocabulary(const char* what, const torch::Tensor& tokens, std::int64_t vocabulary,
                           const torch::Tensor& excepted = {});

}  // namespace rtrain::parallel
