// CIFAR-10 and CIFAR-100 from their binary files. Nothing is downloaded.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace rtrain::data {

/// CIFAR-10: 50,000 (train) or 10,000 (test) images [3, 32, 32], with labels 0..9 (int64), in the order of
/// torchvision. Read from the "binary version" (cifar-10-binary.tar.gz, unpacked), which needs no pickle:
/// data_batch_1.bin to data_batch_5.bin, test_batch.bin. https://www.cs.toronto.edu/~kriz/cifar.html
/// @param root contains the files directly or in cifar-10-batches-bin.
/// @param transform of whole batches; null: ToTensor().
/// @throws std::runtime_error if a file is missing or malformed (says which and why).
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> CIFAR10(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr);

enum class CIFARLabels { kFine, kCoarse };  ///< 100 classes, or the 20 that they belong to

/// CIFAR-100: the same, from train.bin and test.bin in `root` or `root`/cifar-100-binary.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> CIFAR100(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr,
    CIFARLabels labels = CIFARLabels::kFine);

}  // namespace rtrain::data
