// Images in a folder for each class: torchvision.datasets.ImageFolder.
#pragma once

#include <rtrain/data/image_io.h>
#include <rtrain/data/map_dataset.h>
#include <rtrain/data/transforms.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::data {

struct RTRAIN_API ImageFolderOptions {
  /// of each image, uint8 [C, H, W] as decoded. Null: ToTensor(); Compose({}) leaves bytes. It must give
  /// images of one size, or else batch_size is 1
  std::shared_ptr<const transforms::Transform> transform{};
  /// of the files that count, in lower case; torchvision's IMG_EXTENSIONS. Of these .tif, .tiff and .webp
  /// cannot be decoded: such a file is an error when it is read
  std::vector<std::string> extensions{".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                      ".pgm", ".tif",  ".tiff", ".webp"};
  bool allow_empty = false;  ///< classes without a file
  DecodeOptions decode{};
  /// kSkip: a batch has one sample less for each image that cannot be read; one that would be empty throws
  OnError on_error = OnError::kRaise;
};

/// root/cat/1.jpg, root/cat/more/2.png, root/dog/3.jpg, ...: images [C, H, W] and the number of their class,
/// int64. Classes are the folders of root, sorted by name; images are sorted within a class as torchvision
/// does it, so that sample i is sample i there. Files are read and decoded when a batch is made, on the
/// loader's threads.
class RTRAIN_API ImageFolder : public MapDataset<std::pair<torch::Tensor, std::int64_t>> {
 public:
  /// @throws std::runtime_error if there is no class, or a class without a file (names them).
  explicit ImageFolder(const std::filesystem::path& root, ImageFolderOptions options = {});
  ~ImageFolder() override;
  ImageFolder(const ImageFolder&) = delete;
  ImageFolder& operator=(const ImageFolder&) = delete;

  [[nodiscard]] const std::vector<std::string>& classes() const { return classes_; }
  [[nodiscard]] std::map<std::string, std::int64_t> class_to_idx() const;
  /// Path and class of each sample.
  [[nodiscard]] const std::vector<std::pair<std::filesystem::path, std::int64_t>>& samples() const {
    return samples_;
  }
  /// Files that kSkip has left out so far, each once.
  [[nodiscard]] std::int64_t skipped() const;

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(samples_.size()); }
  /// @throws SampleError names the file, whatever on_error is.
  [[nodiscard]] SampleType get(std::int64_t index) const override { return get(index, {}); }
  [[nodiscard]] SampleType get(std::int64_t index, const SampleContext& context) const override;
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, {});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override;

 private:
  ImageFolderOptions options_;
  std::vector<std::string> classes_;
  std::vector<std::pair<std::filesystem::path, std::int64_t>> samples_;
  struct Broken;
  const std::unique_ptr<Broken> broken_;
};

}  // namespace rtrain::data
