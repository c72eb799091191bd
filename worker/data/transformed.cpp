#include <rtrain/data/transformed.h>

#include <stdexcept>
#include <utility>

namespace rtrain::data {
namespace {

torch::Tensor input_of(const Batch& batch) {
  if (batch.input.defined()) return batch.input;
  throw std::invalid_argument(
      "Transformed: the batch has no input to transform; apply the transform in the data set itself");
}

Batch transformed(const transforms::Transform& transform, Batch batch, std::span<const std::int64_t> indices,
                  const SampleContext& context) {
  auto generators = context.generators(indices);
  batch.input = transform.apply(input_of(batch), generators);
  return batch;
}

Batch transformed(const transforms::BatchTransform& transform, const Batch& batch,
                  std::span<const std::int64_t> indices, const SampleContext& context) {
  auto generator = context.batch_generator(indices);
  return transform.apply(batch, generator);
}

/// @tparam Kind Transform or BatchTransform.
template <class Kind>
class TransformedDataset final : public Dataset {
 public:
  TransformedDataset(std::shared_ptr<const Dataset> set, std::shared_ptr<const Kind> transform)
      : set_(std::move(set)), transform_(std::move(transform)) {
    if (set_ == nullptr) throw std::invalid_argument("Transformed: the data set is null");
    if (transform_ == nullptr) throw std::invalid_argument("Transformed: the transform is null");
  }

  [[nodiscard]] std::int64_t size() const override { return set_->size(); }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, SampleContext{});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    return transformed(*transform_, set_->get_batch(indices, context), indices, context);
  }

 private:
  std::shared_ptr<const Dataset> set_;
  std::shared_ptr<const Kind> transform_;
};

}  // namespace

std::shared_ptr<Dataset> Transformed(std::shared_ptr<const Dataset> set,
                                     std::shared_ptr<const transforms::Transform> transform) {
  return std::make_shared<TransformedDataset<transforms::Transform>>(std::move(set), std::move(transform));
}

std::shared_ptr<Dataset> Transformed(std::shared_ptr<const Dataset> set,
                                     std::shared_ptr<const transforms::BatchTransform> transform) {
  return std::make_shared<TransformedDataset<transforms::BatchTransform>>(std::move(set),
                                                                          std::move(transform));
}

}  // namespace rtrain::data
