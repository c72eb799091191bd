// The training function of benchmarks/data.py: reads a data set in batches and trains nothing.
#include <rtrain/rtrain.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

namespace data = rtrain::data;
namespace transforms = rtrain::data::transforms;
using Transform = std::shared_ptr<const transforms::Transform>;

/// What is done with an image of c channels; those of benchmarks/peers/torchvision_data.py.
Transform plain(std::size_t channels) {
  return transforms::Compose(
      {transforms::ToTensor(),
       transforms::Normalize(std::vector<double>(channels, 0.5), std::vector<double>(channels, 0.25))});
}

const std::map<std::string, std::function<Transform(std::size_t)>> kTransforms{
    {"plain", plain}, {"augment", [](std::size_t channels) {
                         return transforms::Compose({transforms::RandomResizedCrop(224),
                                                     transforms::RandomHorizontalFlip(), plain(channels)});
                       }}};

const std::map<std::string,
               std::function<std::shared_ptr<rtrain::Dataset>(const std::string&, const std::string&)>>
    kSources{
        {"idx",
         [](const std::string& folder, const std::string& transform) {
           return data::FashionMNIST(folder, true, kTransforms.at(transform)(1));
         }},
        {"jpeg",
         [](const std::string& folder, const std::string& transform) -> std::shared_ptr<rtrain::Dataset> {
           return std::make_shared<data::ImageFolder>(
               folder, data::ImageFolderOptions{.transform = kTransforms.at(transform)(3)});
         }}};

}  // namespace

/// The first epoch warms up and does not count.
void train_func(const rtrain::Config& config) {
  const rtrain::DataLoader loader(kSources.at(config.at<std::string>("source"))(
                                      config.at<std::string>("folder"), config.at<std::string>("transform")),
                                  {.batch_size = config.at<std::int64_t>("batch_size"),
                                   .shuffle = true,
                                   .num_workers = static_cast<int>(config.at<std::int64_t>("num_workers"))});
  const auto epochs = config.at<std::int64_t>("epochs");
  std::int64_t images = 0;
  auto begin = std::chrono::steady_clock::now();
  for (std::int64_t epoch = 0; epoch <= epochs; ++epoch) {
    if (epoch == 1) begin = std::chrono::steady_clock::now();
    auto batches = loader.epoch(epoch);
    while (const auto batch = batches.next()) images += epoch > 0 ? batch->size() : 0;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rtrain::report({{"img_s", static_cast<double>(images) / seconds}});
}
RTRAIN_TRAIN_FUNCTION(train_func);
