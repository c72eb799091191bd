// A tensor in a file: what it is and where its numbers lie.
#pragma once

#include "common/os/open_file.h"
#include "proto/tensors/dtype.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::tensors {

struct Tensor {
  std::string name;
  const Dtype* dtype = nullptr;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements, none negative
  std::shared_ptr<const os::OpenFile> file;
  std::uint64_t storage = 0;        ///< where its storage begins in the file; others may have the same one
  std::uint64_t storage_bytes = 0;  ///< of it
  std::uint64_t offset = 0;         ///< of the first element within the storage, in elements

  [[nodiscard]] std::uint64_t elements() const;  ///< 1 of a scalar
  [[nodiscard]] std::uint64_t bytes() const { return elements() * dtype->bytes; }
  /// How many elements of the storage lie between the first and the last one, both counted.
  [[nodiscard]] std::uint64_t span() const;
  [[nodiscard]] bool is_contiguous() const;
};

/// Row after row, without gaps.
[[nodiscard]] std::vector<std::int64_t> contiguous_strides(std::span<const std::int64_t> shape);

/// What is wrong with the numbers of a tensor that somebody else wrote: sizes that overflow, a place beyond
/// the storage. "" nothing. To be asked before anything else is.
[[nodiscard]] std::string fault_of(const Tensor& tensor);

/// kLimit when reading all of them would cost far more than the file has bytes: a few bytes can stand for any
/// number of elements, and for any number of tensors.
[[nodiscard]] Result<Done> check_cost(std::span<const Tensor> tensors);

/// "(2, 3)", as PyTorch writes it.
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> shape);

/// The elements in order, in pieces of kElements: two tensors of as many elements are read in step.
class TensorReader {
 public:
  static constexpr std::uint64_t kElements = 256 * 1024;

  explicit TensorReader(const Tensor& tensor) : tensor_(tensor) {}
  /// Good until the next call; "" after the last one.
  [[nodiscard]] Result<std::string_view> next();

 private:
  void gather(std::uint64_t count);

  const Tensor& tensor_;
  std::uint64_t done_ = 0;  // elements
  std::string piece_;
  std::string storage_;              // of a tensor with gaps: all that lies between its ends
  std::vector<std::int64_t> index_;  // of the next element of it
};

}  // namespace rtrain::tensors
