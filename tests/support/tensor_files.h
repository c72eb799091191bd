// Small tensors in files, for tests.
#pragma once

#include "proto/tensors/tensor.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <cstring>
#include <fstream>

namespace rtrain::test {

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
std::string bytes_of(const std::vector<T>& numbers) {
  std::string bytes(numbers.size() * sizeof(T), '\0');
  if (!numbers.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

/// A contiguous tensor whose numbers are all there is in a file of its own.
template <class T>
tensors::Tensor make_tensor(const TempDir& dir, const std::string& name, const std::string& dtype,
                            std::vector<std::int64_t> shape, const std::vector<T>& numbers) {
  const auto path = dir / ("numbers-of-" + name);
  write_bytes(path, bytes_of(numbers));
  auto file = os::OpenFile::open(path.string());
  REQUIRE(file.has_value());
  auto strides = tensors::contiguous_strides(shape);
  const auto size = (*file)->size();
  return {name, tensors::find_dtype(dtype), std::move(shape), std::move(strides), *file, 0, size, 0};
}

inline std::string numbers_of(const tensors::Tensor& tensor) {
  std::string all;
  tensors::TensorReader reader(tensor);
  for (;;) {
    const auto piece = reader.next();
    REQUIRE(piece.has_value());
    if (piece->empty()) return all;
    all += *piece;
  }
}

}  // namespace rtrain::test
