#include "worker/strategies/reduction.h"

#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

namespace rtrain {

bool has_sparse_gradient(const torch::nn::Module& module, const torch::Tensor& parameter) {
  if (const auto* embedding = dynamic_cast<const torch::nn::EmbeddingImpl*>(&module)) {
    return embedding->options.sparse() && embedding->weight.is_same(parameter);
  }
  if (const auto* bag = dynamic_cast<const torch::nn::EmbeddingBagImpl*>(&module))
    return bag->options.sparse() && bag->weight.is_same(parameter);
  for (const auto& child : module.children()) {
    if (has_sparse_gradient(*child, parameter)) return true;
  }
  return false;
}

void Reduction::start(Communicator& ranks, const DDPOptions& options) {
  std::unordered_map<std::size_t, std::string> numbered;
  for (std::size_t i = 0; i < names.size(); ++i) numbered.emplace(i, names[i]);
  const auto cap = static_cast<std::size_t>(options.bucket_cap_mb * 1024 * 1024);
  const auto first_cap = static_cast<std::size_t>(c10d::kDefaultFirstBucketBytes);
  // Buckets are cut again after the first step, in the order in which gradients came; until then one will
  // do, unless they never are.
  const bool rebuilds = options.static_graph || !options.find_unused_parameters;
  const std::vector<std::size_t> limits =
      rebuilds ? std::vector<std::size_t>{std::numeric_limits<std::int64_t>::max()}
               : std::vector<std::size_t>{first_cap, cap};
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, limits, sparse));
  std::reverse(buckets.begin(), buckets.end());  // backward makes the last parameters' gradients first
  auto group = c10::intrusive_ptr<c10d::ProcessGroup>::unsafe_reclaim_from_nonowning(ranks.c10d_group());
  reducer = std::make_shared<c10d::Reducer>(
      parameters, std::move(buckets), std::move(group), sparse, static_cast<std::int64_t>(cap),
      options.find_unused_parameters, options.gradient_as_bucket_view, std::move(numbered),
      static_cast<std::int64_t>(std::min(first_cap, cap)),
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<std::int64_t>{});
  if (options.static_graph) reducer->set_static_graph();
  logger = std::make_shared<c10d::Logger>(reducer);
  reducer->set_logger(logger);
  const auto device = parameters.front().device();
  logger->set_construction_data_and_log(
      "LightningModule", device.is_cuda() ? std::vector<int>{device.index()} : std::vector<int>{},
      device.is_cuda() ? device.index() : -1, options.broadcast_buffers, /*has_sync_bn=*/false,
      options.static_graph);
}

}  // namespace rtrain
