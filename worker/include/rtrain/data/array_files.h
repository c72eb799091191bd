// Arrays from NumPy's files.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

namespace rtrain::data {

/// numpy.load() of a .npy file (format 1 to 3), in C or Fortran order, of either byte order.
/// @param mmap the file is read where the tensor is touched (numpy's mmap_mode="c": what is written stays in
///        memory); it must not become shorter meanwhile. Only of files in this machine's byte order.
/// @throws std::runtime_error names the path: no such file, cut off, or a type that LibTorch has not
/// (strings,
///         objects, dates, structures).
[[nodiscard]] RTRAIN_API torch::Tensor load_npy(const std::filesystem::path& path, bool mmap = false);
/// numpy.load() of a .npz file: its arrays by name, as numpy.savez() and savez_compressed() write them.
/// @throws std::runtime_error also if a checksum is wrong.
[[nodiscard]] RTRAIN_API std::map<std::string, torch::Tensor> load_npz(const std::filesystem::path& path);

}  // namespace rtrain::data
