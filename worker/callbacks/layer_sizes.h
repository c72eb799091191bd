// What layers get and give, found by watching operations.
#pragma once

#include <rtrain/callbacks/model_summary.h>

#include <functional>

namespace rtrain {

/// Runs `forward` in eval mode without gradients, and adds to the layers of `counts` the sizes of the first
/// operation that takes one of their own parameters: of its first tensor that is no parameter, and of its
/// first result. Modules have no hooks in C++; LibTorch tells of each operation.
void add_sizes(ModelCounts& counts, torch::nn::Module& module, const std::function<void()>& forward);

}  // namespace rtrain
