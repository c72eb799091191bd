#include <rtrain/data/tensor_dataset.h>

#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>

#include <stdexcept>
#include <string>

namespace rtrain::data {
namespace {

class InMemory final : public Dataset {
 public:
  InMemory(torch::Tensor input, torch::Tensor target)
      : input_(std::move(input)), target_(std::move(target)) {}

  [[nodiscard]] std::int64_t size() const override { return input_.size(0); }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    const auto order = at::from_blob(const_cast<std::int64_t*>(indices.data()),
                                     {static_cast<std::int64_t>(indices.size())}, at::kLong);
    return {select(input_, order), target_.defined() ? select(target_, order) : torch::Tensor()};
  }
  [[nodiscard]] std::int64_t resident_bytes() const override {
    return static_cast<std::int64_t>(input_.nbytes() + (target_.defined() ? target_.nbytes() : 0));
  }
  [[nodiscard]] std::shared_ptr<const Dataset> on_device(torch::Device device) const override {
    return std::make_shared<InMemory>(input_.to(device),
                                      target_.defined() ? target_.to(device) : torch::Tensor());
  }

 private:
  static torch::Tensor select(const torch::Tensor& samples, const torch::Tensor& order) {
    if (samples.is_cpu()) return at::index_select(samples, 0, order);
    // Page-locked: a copy from other memory waits until the GPU has done everything that it was asked for
    // before.
    return at::index_select(samples, 0, order.pin_memory().to(samples.device(), /*non_blocking=*/true));
  }
  torch::Tensor input_, target_;
};

}  // namespace

std::shared_ptr<Dataset> TensorDataset(torch::Tensor input, torch::Tensor target) {
  if (!input.defined() || input.dim() == 0)
    throw std::invalid_argument("TensorDataset: input must have a first dimension, the samples");
  if (target.defined() && (target.dim() == 0 || target.size(0) != input.size(0))) {
    throw std::invalid_argument(
        "TensorDataset: input has " + std::to_string(input.size(0)) + " samples, target has " +
        (target.dim() == 0 ? std::string("no dimension") : std::to_string(target.size(0))));
  }
  return std::make_shared<InMemory>(input.detach(), target.defined() ? target.detach() : target);
}

}  // namespace rtrain::data
