#include "worker/data/images_in_memory.h"

#include "worker/data/apply_transform.h"

#include <rtrain/data/tensor_dataset.h>

#include <utility>

namespace rtrain::data {
namespace {

class TransformedImages final : public Dataset {
 public:
  TransformedImages(std::shared_ptr<const Dataset> images,
                    std::shared_ptr<const transforms::Transform> transform)
      : images_(std::move(images)), transform_(std::move(transform)) {}
  [[nodiscard]] std::int64_t size() const override { return images_->size(); }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, {});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    auto batch = images_->get_batch(indices);
    batch.input = transformed_images(*transform_, batch.input, indices, context);
    return batch;
  }
  /// Numbers that are drawn for a sample are drawn on the CPU, and most transforms of space run there too.
  [[nodiscard]] std::int64_t resident_bytes() const override {
    return transform_->is_pointwise() ? images_->resident_bytes() : 0;
  }
  [[nodiscard]] std::shared_ptr<const Dataset> on_device(torch::Device device) const override {
    return std::make_shared<TransformedImages>(images_->on_device(device), transform_);
  }

 private:
  std::shared_ptr<const Dataset> images_;
  std::shared_ptr<const transforms::Transform> transform_;
};

}  // namespace

std::shared_ptr<Dataset> images_in_memory(torch::Tensor images, torch::Tensor labels,
                                          std::shared_ptr<const transforms::Transform> transform) {
  return std::make_shared<TransformedImages>(TensorDataset(std::move(images), std::move(labels)),
                                             std::move(transform));
}

}  // namespace rtrain::data
