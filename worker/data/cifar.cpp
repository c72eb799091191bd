#include <rtrain/data/cifar.h>

#include "worker/data/apply_transform.h"
#include "worker/data/file_bytes.h"
#include "worker/data/images_in_memory.h"

#include <rtrain/data/image_io.h>

#include <ATen/ops/empty.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace rtrain::data {
namespace {

namespace fs = std::filesystem;

/// A record is its labels, a byte each, then 32 x 32 pixels of red, of green, of blue.
struct Layout {
  const char* name;
  const char* folder;
  std::vector<std::string> files;
  std::size_t labels;  ///< bytes in front of the pixels
  std::size_t label;   ///< the one that is taken
  std::uint8_t classes;
};

constexpr std::int64_t kEdge = 32;
constexpr std::size_t kPixels = 3 * kEdge * kEdge;

std::vector<std::uint8_t> records_of(const Layout& layout, const fs::path& root, const std::string& file) {
  std::vector<std::uint8_t> bytes;
  std::error_code ignored;
  const auto path = fs::exists(root / file, ignored) ? root / file : root / layout.folder / file;
  if (!fs::exists(path, ignored))
    throw std::runtime_error(
        std::string(layout.name) + ": no file " + file + " in " +
        fs::absolute(root).lexically_normal().string() + " or its " + layout.folder +
        ". Unpack the binary version of https://www.cs.toronto.edu/~kriz/cifar.html there.");
  try {
    bytes = read_bytes(path);
  } catch (const SampleError& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
  const auto record = layout.labels + kPixels;
  if (bytes.empty() || bytes.size() % record != 0)
    throw std::runtime_error(path.string() + ": has " + std::to_string(bytes.size()) +
                             " bytes, which are no whole records of " + std::to_string(record));
  for (std::size_t at = 0; at < bytes.size(); at += record)
    if (bytes[at + layout.label] >= layout.classes)
      throw std::runtime_error(path.string() + ": record " + std::to_string(at / record) + " has the label " +
                               std::to_string(bytes[at + layout.label]) + ", expected less than " +
                               std::to_string(layout.classes));
  return bytes;
}

std::shared_ptr<Dataset> open_cifar(const Layout& layout, const fs::path& root,
                                    std::shared_ptr<const transforms::Transform> transform) {
  std::vector<std::vector<std::uint8_t>> files;
  const auto record = layout.labels + kPixels;
  std::size_t count = 0;
  for (const auto& file : layout.files) {
    files.push_back(records_of(layout, root, file));
    count += files.back().size() / record;
  }
  auto images = at::empty({static_cast<std::int64_t>(count), 3, kEdge, kEdge}, at::kByte);
  auto labels = at::empty({static_cast<std::int64_t>(count)}, at::kLong);
  auto* pixels = images.mutable_data_ptr<std::uint8_t>();
  auto* label = labels.mutable_data_ptr<std::int64_t>();
  for (const auto& bytes : files) {
    for (std::size_t at = 0; at < bytes.size(); at += record, pixels += kPixels) {
      *label++ = bytes[at + layout.label];
      std::memcpy(pixels, bytes.data() + at + layout.labels, kPixels);
    }
  }
  return images_in_memory(std::move(images), std::move(labels), or_to_tensor(std::move(transform)));
}

}  // namespace

std::shared_ptr<Dataset> CIFAR10(const fs::path& root, bool train,
                                 std::shared_ptr<const transforms::Transform> transform) {
  const auto files =
      train ? std::vector<std::string>{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                       "data_batch_4.bin", "data_batch_5.bin"}
            : std::vector<std::string>{"test_batch.bin"};
  return open_cifar({"CIFAR10", "cifar-10-batches-bin", files, 1, 0, 10}, root, std::move(transform));
}

std::shared_ptr<Dataset> CIFAR100(const fs::path& root, bool train,
                                  std::shared_ptr<const transforms::Transform> transform,
                                  CIFARLabels labels) {
  const bool fine = labels == CIFARLabels::kFine;
  return open_cifar({"CIFAR100",
                     "cifar-100-binary",
                     {train ? "train.bin" : "test.bin"},
                     2,
                     fine ? 1u : 0u,
                     static_cast<std::uint8_t>(fine ? 100 : 20)},
                    root, std::move(transform));
}

}  // namespace rtrain::data
