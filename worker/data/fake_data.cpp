#include <rtrain/data/fake_data.h>

#include "worker/data/apply_transform.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::data {
namespace {

class Noise final : public Dataset {
 public:
  explicit Noise(FakeDataOptions options) : options_(std::move(options)) {
    options_.transform = or_to_tensor(std::move(options_.transform));
  }
  [[nodiscard]] std::int64_t size() const override { return options_.size; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, {});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    const auto count = static_cast<std::int64_t>(indices.size());
    const auto& [channels, height, width] = options_.image_size;
    auto images = at::empty({count, channels, height, width}, at::kByte);
    auto labels = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto index = indices[static_cast<std::size_t>(i)];
      if (index < 0 || index >= options_.size)
        throw std::out_of_range("FakeData: sample " + std::to_string(index) + " of " +
                                std::to_string(options_.size));
      auto generator =
          at::detail::createCPUGenerator(static_cast<std::uint64_t>(index + options_.random_offset));
      // As torchvision, through the bytes of an image: x * 255 without the fraction, modulo 256.
      images[i].copy_(at::randn(options_.image_size, generator).mul(255).to(at::kByte));
      labels[i].copy_(at::randint(0, options_.num_classes, {1}, generator, at::kLong)[0]);
    }
    return {transformed_images(*options_.transform, images, indices, context), labels};
  }

 private:
  FakeDataOptions options_;
};

}  // namespace

std::shared_ptr<Dataset> FakeData(FakeDataOptions options) {
  const auto refuse = [](const std::string& what, std::int64_t value, const char* expected) {
    throw std::invalid_argument("FakeData: " + what + " is " + std::to_string(value) + ", expected " +
                                expected);
  };
  if (options.size < 0) refuse("size", options.size, "0 or more");
  if (options.num_classes < 1) refuse("num_classes", options.num_classes, "1 or more");
  for (const auto edge : options.image_size)
    if (edge < 1) refuse("an edge of image_size", edge, "1 or more");
  return std::make_shared<Noise>(std::move(options));
}

}  // namespace rtrain::data
