// MNIST and Fashion-MNIST: IDX files, plain or gzipped, as torchvision reads them. Nothing is downloaded.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>

#include <filesystem>
#include <memory>

namespace rtrain::data {

/// Fashion-MNIST: 60,000 (train) or 10,000 (test) images [1, 28, 28] of ten kinds of clothes, labels 0..9
/// (int64).
/// @param root has the files, itself or in FashionMNIST/raw (where torchvision puts them). Empty:
/// /usr/share/datasets/fashion-mnist,
///        where Debian's package dataset-fashion-mnist puts them.
/// @param transform null: ToTensor().
/// @throws std::runtime_error no such files (says which, where, and what to install) or a broken file (says
/// which and why).
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> FashionMNIST(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr);
/// MNIST: the same of handwritten digits; `root` and `root`/MNIST/raw.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> MNIST(
    const std::filesystem::path& root, bool train,
    std::shared_ptr<const transforms::Transform> transform = nullptr);

}  // namespace rtrain::data
