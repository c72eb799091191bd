#include "worker/loops/same_batch.h"

#include "common/base/crc32c.h"

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace rtrain {

std::uint32_t checksum_of(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  Crc32c crc;
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    crc.add(std::string(c10::toString(tensor.scalar_type())) + c10::str(tensor.sizes()));
    const auto dense = tensor.is_sparse() ? tensor.to_dense() : tensor;
    const auto here = dense.detach().cpu().contiguous();
    crc.add({static_cast<const char*>(here.const_data_ptr()), here.nbytes()});
  });
  return crc.value();
}

void require_same_batch(Strategy& strategy, const Batch& batch, const std::string& place) {
  auto& mesh = strategy.mesh();
  const bool staged = mesh.degrees().pipeline > 1;
  if (!staged && mesh.degrees().tensor == 1) return;
  auto& ranks = mesh.group(staged ? AxisSet{Axis::kPipeline, Axis::kTensor} : AxisSet(Axis::kTensor));
  const auto own = torch::tensor(
      {static_cast<std::int64_t>(mesh.world().rank()), static_cast<std::int64_t>(checksum_of(batch))},
      torch::dtype(torch::kInt64));
  std::vector<std::pair<std::int64_t, std::string>> by_checksum;
  for (const auto& of_rank : ranks.all_gather(own.to(strategy.device()))) {
    const auto numbers = of_rank.cpu();
    const auto rank = std::to_string(numbers[0].item<std::int64_t>());
    const auto checksum = numbers[1].item<std::int64_t>();
    const auto found = std::find_if(by_checksum.begin(), by_checksum.end(),
                                    [&](const auto& known) { return known.first == checksum; });
    if (found == by_checksum.end())
      by_checksum.emplace_back(checksum, rank);
    else
      found->second += ", " + rank;
  }
  if (by_checksum.size() == 1) return;
  std::string groups;
  for (const auto& [checksum, with] : by_checksum)
    groups += groups.empty() ? "rank " + with + " has one" : ", rank " + with + " another";
  throw std::runtime_error(
      place +
      " is not the same on ranks that compute it together (of one tensor group or pipeline): " + groups +
      ". Give them the same data: draw and shuffle it with one seed on all ranks, and let the Trainer share "
      "it "
      "out, or a sampler made with device_mesh().data()");
}

}  // namespace rtrain
