// MNIST and Fashion-MNIST from IDX files, plain or gzipped, as torchvision reads them. Nothing is downloaded.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>

#include <filesystem>
#include <memory>

namespace rtrain::data {

/// Fashion-MNIST: 60,000 (train) or 10,000 (test) images [1, 28, 28] of ten kinds of clothes, with labels
/// 0..9 (int64).
/// @param root contains the files directly or in FashionMNIST/raw (torchvision's layout). Empty:
///        /usr/share/datasets/fashion-mnist, where Debian's package dataset-fashion-mnist installs them.
/// @param transform null: ToTensor(). May be random.
/// @throws std::runtime_error if a file is missing (says which, where, and what to install) or malformed
///        (says which and why).
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> FashionMNIST(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr);
/// MNIST: the same for handwritten digits, in `root` or `root`/MNIST/raw.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> MNIST(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr);

}  // namespace rtrain::data
