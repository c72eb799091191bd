#include "proto/tensors/tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

namespace rtrain::tensors {
namespace {

constexpr std::uint64_t kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
/// Tied weights and expanded tensors are read more than once; more than this is no checkpoint.
constexpr std::uint64_t kCostFactor = 16, kCostFree = std::uint64_t{1} << 30;

/// a * b, nothing where that is over kMax.
bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& product) {
  if (a != 0 && b > kMax / a) return false;
  product = a * b;
  return true;
}

}  // namespace

std::uint64_t Tensor::elements() const {
  std::uint64_t count = 1;
  for (const auto n : shape) count *= static_cast<std::uint64_t>(n);
  return count;
}

std::uint64_t Tensor::span() const {
  if (elements() == 0) return 0;
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < shape.size(); ++i)
    last += static_cast<std::uint64_t>((shape[i] - 1) * strides[i]);
  return last + 1;
}

bool Tensor::is_contiguous() const {
  if (elements() == 0) return true;
  const auto dense = contiguous_strides(shape);
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && strides[i] != dense[i]) return false;
  return true;
}

std::vector<std::int64_t> contiguous_strides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i > 1; --i)
    strides[i - 2] = strides[i - 1] * std::max<std::int64_t>(shape[i - 1], 1);
  return strides;
}

std::string fault_of(const Tensor& tensor) {
  if (tensor.shape.size() != tensor.strides.size()) return "as many strides as sizes are expected";
  std::uint64_t bytes = tensor.dtype->bytes, last = tensor.offset;
  bool empty = false;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] < 0) return "a size is negative";
    if (tensor.strides[i] < 0) return "a stride is negative";
    const auto n = static_cast<std::uint64_t>(tensor.shape[i]);
    if (n == 0) empty = true;
    if (!multiply(bytes, std::max<std::uint64_t>(n, 1), bytes)) return "the shape is too large";
    std::uint64_t reach = 0;
    if (n > 0 &&
        (!multiply(n - 1, static_cast<std::uint64_t>(tensor.strides[i]), reach) || last > kMax - reach))
      return "the strides are too large";
    last += reach;
  }
  const auto held = tensor.storage_bytes / tensor.dtype->bytes;
  if (!empty && last >= held)
    return "element " + std::to_string(last) + " of a storage of " + std::to_string(held) + " is asked for";
  return "";
}

Result<Done> check_cost(std::span<const Tensor> tensors) {
  std::uint64_t cost = 0, allowed = kCostFree;
  std::set<const os::OpenFile*> files;
  for (const auto& tensor : tensors) {
    if (files.insert(tensor.file.get()).second) allowed += kCostFactor * tensor.file->size();
    const auto more =
        std::max(tensor.bytes(), tensor.is_contiguous() ? 0 : tensor.span() * tensor.dtype->bytes);
    if (more > kMax - cost)
      cost = kMax;
    else
      cost += more;
  }
  if (cost <= allowed) return ok();
  return fail(Errc::kIo, tensors.front().file->path() + ": its tensors unfold to " + std::to_string(cost) +
                             " bytes, far more than the file has");
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Result<std::string_view> TensorReader::next() {
  const auto count = std::min(kElements, tensor_.elements() - done_);
  if (count == 0) return std::string_view();
  const auto width = tensor_.dtype->bytes;
  piece_.resize(count * width);
  if (tensor_.is_contiguous()) {
    auto got = tensor_.file->read(tensor_.storage + (tensor_.offset + done_) * width, piece_);
    if (!got) return got.error();
  } else {
    if (storage_.empty()) {
      auto all = tensor_.file->text(tensor_.storage + tensor_.offset * width, tensor_.span() * width);
      if (!all) return all.error();
      storage_ = std::move(*all);
      index_.assign(tensor_.shape.size(), 0);
    }
    gather(count);
  }
  done_ += count;
  return std::string_view(piece_);
}

void TensorReader::gather(std::uint64_t count) {
  const auto width = tensor_.dtype->bytes;
  const auto& shape = tensor_.shape;
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < index_.size(); ++i)
    at += static_cast<std::uint64_t>(index_[i] * tensor_.strides[i]);
  for (char* into = piece_.data(); count > 0; --count, into += width) {
    std::memcpy(into, storage_.data() + at * width, width);
    for (std::size_t i = shape.size(); i > 0; --i) {  // the last index runs fastest
      const auto stride = static_cast<std::uint64_t>(tensor_.strides[i - 1]);
      at += stride;
      if (++index_[i - 1] < shape[i - 1]) break;
      at -= stride * static_cast<std::uint64_t>(shape[i - 1]);
      index_[i - 1] = 0;
    }
  }
}

}  // namespace rtrain::tensors
