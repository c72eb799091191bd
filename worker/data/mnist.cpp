#include <rtrain/data/mnist.h>

#include "worker/data/images_in_memory.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain::data {
namespace {

namespace fs = std::filesystem;

/// One IDX file: bytes in 1 (labels) or 3 (images) dimensions. http://yann.lecun.com/exdb/mnist/
struct Idx {
  std::vector<std::int64_t> sizes;
  std::vector<std::uint8_t> bytes;
};

class GzFile {
 public:
  /// zlib reads a file that is not compressed as it is.
  explicit GzFile(const fs::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr)
      throw std::runtime_error(path.string() + ": could not open: " + std::strerror(errno));
    gzbuffer(file_, 1 << 18);
  }
  ~GzFile() { gzclose(file_); }
  GzFile(const GzFile&) = delete;
  GzFile& operator=(const GzFile&) = delete;

  void read(std::uint8_t* into, std::size_t size) {
    while (size > 0) {
      const auto got = gzread(file_, into, static_cast<unsigned>(std::min<std::size_t>(size, 1u << 24)));
      if (got <= 0) fail(got == 0 ? "the file ends too early" : error_text());
      into += got;
      size -= static_cast<std::size_t>(got);
    }
  }
  void expect_end() {
    std::uint8_t byte = 0;
    const auto got = gzread(file_, &byte, 1);
    if (got > 0) fail("the file is longer than its header says");
    int code = Z_OK;
    gzerror(file_, &code);
    // a wrong checksum, a missing tail
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) fail(error_text());
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error(path_.string() + ": " + why);
  }

 private:
  [[nodiscard]] std::string error_text() const {
    int code = Z_OK;
    const char* text = gzerror(file_, &code);
    return code == Z_ERRNO ? std::string("could not read: ") + std::strerror(errno)
                           : std::string("broken gzip data: ") + text;
  }
  fs::path path_;
  gzFile file_;
};

Idx read_idx(const fs::path& path, std::uint8_t dimensions) {
  // MNIST has 47 MB: a header that claims more is broken
  constexpr std::int64_t kBytesMax = std::int64_t{1} << 31;
  GzFile file(path);
  std::array<std::uint8_t, 4> magic{};
  file.read(magic.data(), magic.size());
  if (magic != std::array<std::uint8_t, 4>{0, 0, 8, dimensions}) {
    file.fail("not an IDX file of bytes in " + std::to_string(dimensions) + " dimension(s)");
  }
  Idx idx;
  std::int64_t total = 1;
  for (int i = 0; i < dimensions; ++i) {
    std::array<std::uint8_t, 4> size{};
    file.read(size.data(), size.size());
    idx.sizes.push_back((std::int64_t{size[0]} << 24) | (size[1] << 16) | (size[2] << 8) | size[3]);
    if (idx.sizes.back() > 0 && total > kBytesMax / idx.sizes.back())
      file.fail("the header claims more than 2 GiB");
    total *= idx.sizes.back();
  }
  idx.bytes.resize(static_cast<std::size_t>(total));
  file.read(idx.bytes.data(), idx.bytes.size());
  file.expect_end();
  return idx;
}

class ImagesOfBytes final : public Dataset {
 public:
  ImagesOfBytes(Idx images, Idx labels, std::shared_ptr<const transforms::Transform> transform)
      : images_(std::move(images)), labels_(std::move(labels.bytes)), transform_(std::move(transform)) {
    if (!transform_->is_pointwise()) return;
    const auto values = transform_->apply(at::arange(256, at::kByte).view({1, 1, 16, 16})).contiguous();
    if (values.scalar_type() != at::kFloat || values.numel() != 256) return;
    table_.emplace();
    std::copy_n(values.const_data_ptr<float>(), table_->size(), table_->begin());
  }

  [[nodiscard]] std::int64_t size() const override { return images_.sizes[0]; }

  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, SampleContext{});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    const auto count = static_cast<std::int64_t>(indices.size());
    const auto pixels = static_cast<std::size_t>(images_.sizes[1] * images_.sizes[2]);
    auto input = at::empty({count, 1, images_.sizes[1], images_.sizes[2]}, table_ ? at::kFloat : at::kByte);
    auto target = at::empty({count}, at::kLong);
    auto* label = target.mutable_data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto sample = static_cast<std::size_t>(indices[i]);
      if (indices[i] < 0 || indices[i] >= size())
        throw std::out_of_range("data set: sample " + std::to_string(indices[i]) + " of " +
                                std::to_string(size()));
      const auto* from = images_.bytes.data() + sample * pixels;
      if (table_) {
        auto* into = input.mutable_data_ptr<float>() + i * pixels;
        for (std::size_t pixel = 0; pixel < pixels; ++pixel) into[pixel] = (*table_)[from[pixel]];
      } else {
        std::memcpy(input.mutable_data_ptr<std::uint8_t>() + i * pixels, from, pixels);
      }
      label[i] = labels_[sample];
    }
    if (table_) return {input, target};
    auto generators = context.generators(indices);
    return {transform_->apply(input, generators), target};
  }
  [[nodiscard]] std::int64_t resident_bytes() const override {
    return table_ ? static_cast<std::int64_t>(images_.bytes.size() + 8 * labels_.size()) : 0;
  }
  [[nodiscard]] std::shared_ptr<const Dataset> on_device(torch::Device device) const override {
    const auto count = size();
    auto images = at::empty({count, 1, images_.sizes[1], images_.sizes[2]}, at::kByte);
    std::memcpy(images.mutable_data_ptr(), images_.bytes.data(), images_.bytes.size());
    auto labels = at::empty({count}, at::kByte);
    std::memcpy(labels.mutable_data_ptr(), labels_.data(), labels_.size());
    return images_in_memory(images.to(device), labels.to(device).to(at::kLong), transform_);
  }

 private:
  Idx images_;
  std::vector<std::uint8_t> labels_;
  std::shared_ptr<const transforms::Transform> transform_;
  std::optional<std::array<float, 256>> table_;  ///< the transform of each byte, when it is pointwise
};

/// `name` or `name`.gz in the first folder that has it.
std::optional<fs::path> find_file(const std::vector<fs::path>& folders, const std::string& name) {
  for (const auto& folder : folders) {
    for (const auto* ending : {"", ".gz"}) {
      std::error_code ignored;
      auto path = folder / (name + ending);
      if (fs::is_regular_file(path, ignored)) return path;
    }
  }
  return std::nullopt;
}

std::shared_ptr<Dataset> open(const std::string& data_set, const std::vector<fs::path>& folders,
                              const std::string& way_out, bool train,
                              std::shared_ptr<const transforms::Transform> transform) {
  const std::string images_name = std::string(train ? "train" : "t10k") + "-images-idx3-ubyte";
  const std::string labels_name = std::string(train ? "train" : "t10k") + "-labels-idx1-ubyte";
  const auto images_path = find_file(folders, images_name);
  const auto labels_path = find_file(folders, labels_name);
  if (!images_path || !labels_path) {
    std::string places;
    for (const auto& folder : folders)
      places += (places.empty() ? "" : ", ") + fs::absolute(folder).lexically_normal().string();
    throw std::runtime_error(data_set + ": no file " + (images_path ? labels_name : images_name) +
                             "[.gz] in " + places + ". " + way_out);
  }
  auto images = read_idx(*images_path, 3);
  auto labels = read_idx(*labels_path, 1);
  if (images.sizes[0] != labels.sizes[0]) {
    throw std::runtime_error(data_set + ": " + images_path->string() + " has " +
                             std::to_string(images.sizes[0]) + " images, " + labels_path->string() + " has " +
                             std::to_string(labels.sizes[0]) + " labels");
  }
  return std::make_shared<ImagesOfBytes>(std::move(images), std::move(labels),
                                         transform ? std::move(transform) : transforms::ToTensor());
}

}  // namespace

std::shared_ptr<Dataset> FashionMNIST(const fs::path& root, bool train,
                                      std::shared_ptr<const transforms::Transform> transform) {
  // A folder that was named is the only place: other images than those that were asked for are worse than
  // none.
  const auto folders = root.empty() ? std::vector<fs::path>{"/usr/share/datasets/fashion-mnist"}
                                    : std::vector<fs::path>{root, root / "FashionMNIST" / "raw"};
  return open(
      "FashionMNIST", folders,
      root.empty()
          ? "Debian's package dataset-fashion-mnist puts the files there; or name the folder that has them."
          : "Put the files there; or install Debian's package dataset-fashion-mnist and leave root empty.",
      train, std::move(transform));
}

std::shared_ptr<Dataset> MNIST(const fs::path& root, bool train,
                               std::shared_ptr<const transforms::Transform> transform) {
  return open("MNIST", {root, root / "MNIST" / "raw"}, "Put MNIST's four files into one of these folders.",
              train, std::move(transform));
}

}  // namespace rtrain::data
