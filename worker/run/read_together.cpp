#include "worker/run/read_together.h"

#include <torch/torch.h>

#include <map>
#include <string>

namespace rtrain {

std::vector<double> read_together(const std::vector<torch::Tensor>& scalars) {
  const torch::NoGradGuard no_grad;
  std::vector<double> values(scalars.size());
  std::map<std::string, std::vector<std::size_t>> of_device;
  for (std::size_t i = 0; i < scalars.size(); ++i) {
    if (scalars[i].is_cpu())
      values[i] = scalars[i].item<double>();  // nothing to wait for
    else
      of_device[scalars[i].device().str()].push_back(i);
  }
  for (const auto& [device, places] : of_device) {
    std::vector<torch::Tensor> row;
    for (const auto i : places) row.push_back(scalars[i].detach().to(torch::kFloat64).reshape({}));
    const auto copied = torch::stack(row).to(torch::kCPU);
    for (std::size_t k = 0; k < places.size(); ++k) values[places[k]] = copied.data_ptr<double>()[k];
  }
  return values;
}

}  // namespace rtrain
