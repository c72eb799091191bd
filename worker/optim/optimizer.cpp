#include <rtrain/optim.h>

#include "worker/optim/unique.h"

namespace rtrain {

Optimizer::Optimizer(std::vector<torch::Tensor> parameters) : parameters_(unique(parameters)) {}

}  // namespace rtrain
