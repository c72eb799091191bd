#include <rtrain/data/token_file.h>

#include "worker/data/file_bytes.h"

#include <ATen/ops/empty.h>

#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::data {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are read as they stand");

class TokenWindows final : public Dataset {
 public:
  TokenWindows(const std::filesystem::path& path, TokenFileOptions options)
      : file_(path), options_(options), token_bytes_(c10::elementSize(options.dtype)) {
    const auto bytes = file_.bytes().size();
    if (bytes % token_bytes_ != 0)
      throw std::runtime_error(path.string() + ": has " + std::to_string(bytes) +
                               " bytes, which are no whole tokens of " + std::to_string(token_bytes_) +
                               " bytes (dtype)");
    tokens_ = static_cast<std::int64_t>(bytes / token_bytes_);
    starts_ = tokens_ - options_.block_size;
    if (starts_ < 1)
      throw std::runtime_error(path.string() + ": has " + std::to_string(tokens_) +
                               " tokens; a window of block_size " + std::to_string(options_.block_size) +
                               " needs " + std::to_string(options_.block_size + 1));
    size_ = (starts_ - 1) / (options_.stride > 0 ? options_.stride : options_.block_size) + 1;
  }

  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, {});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    const auto count = static_cast<std::int64_t>(indices.size()), length = options_.block_size;
    auto input = at::empty({count, length}, at::kLong), target = at::empty({count, length}, at::kLong);
    auto* in = input.mutable_data_ptr<std::int64_t>();
    auto* out = target.mutable_data_ptr<std::int64_t>();
    for (const auto index : indices) {
      if (index < 0 || index >= size_)
        throw std::out_of_range("TokenFile: window " + std::to_string(index) + " of " +
                                std::to_string(size_));
      const auto begin = start_of(index, context);
      for (std::int64_t i = 0; i < length; ++i) *in++ = token(begin + i);
      for (std::int64_t i = 0; i < length; ++i) *out++ = token(begin + 1 + i);
    }
    return {input, target};
  }

 private:
  [[nodiscard]] std::int64_t start_of(std::int64_t index, const SampleContext& context) const {
    if (options_.random)
      return static_cast<std::int64_t>(context.seed_of(index) % static_cast<std::uint64_t>(starts_));
    return index * (options_.stride > 0 ? options_.stride : options_.block_size);
  }
  [[nodiscard]] std::int64_t token(std::int64_t place) const {
    std::uint32_t value = 0;
    std::memcpy(&value, file_.bytes().data() + static_cast<std::size_t>(place) * token_bytes_, token_bytes_);
    return value;
  }

  const MappedFile file_;
  const TokenFileOptions options_;
  const std::size_t token_bytes_;
  std::int64_t tokens_ = 0, starts_ = 0, size_ = 0;
};

}  // namespace

std::shared_ptr<Dataset> TokenFile(const std::filesystem::path& path, TokenFileOptions options) {
  const auto refuse = [](const std::string& why) { throw std::invalid_argument("TokenFile: " + why); };
  if (options.block_size < 1)
    refuse("block_size is " + std::to_string(options.block_size) + ", expected 1 or more");
  if (options.stride < 0)
    refuse("stride is " + std::to_string(options.stride) + ", expected 1 or more, or 0 for block_size");
  if (options.random && options.stride > 0) refuse("random and stride exclude each other");
  if (options.dtype != at::ScalarType::UInt16 && options.dtype != at::ScalarType::UInt32 &&
      options.dtype != at::ScalarType::Int)
    refuse(std::string("dtype is ") + c10::toString(options.dtype) + ", expected UInt16, UInt32 or Int");
  return std::make_shared<TokenWindows>(path, options);
}

}  // namespace rtrain::data
