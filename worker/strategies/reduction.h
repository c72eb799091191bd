// c10d's Reducer over the parameters that a run of DDP trains.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/strategies/ddp.h>

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <memory>
#include <string>
#include <vector>

namespace rtrain {

/// A Reducer and the parameters that it sums.
struct Reduction {
  std::vector<bool> trained;  ///< of each parameter of the module, whether it is one of them
  std::vector<torch::Tensor> parameters;
  std::vector<std::string> names;
  std::vector<bool> sparse;                ///< of each parameter, whether its gradient is
  std::shared_ptr<c10d::Reducer> reducer;  ///< none while no parameter requires a gradient
  std::shared_ptr<c10d::Logger> logger;    ///< the Reducer has a weak pointer that it does not check
  bool static_graph_seen = false;

  /// Makes the Reducer. @pre there are parameters.
  void start(Communicator& ranks, const DDPOptions& options);
};

/// True if a layer of the module gives the parameter a sparse gradient.
[[nodiscard]] bool has_sparse_gradient(const torch::nn::Module& module, const torch::Tensor& parameter);

}  // namespace rtrain
