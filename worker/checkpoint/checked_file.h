// Files of a checkpoint with their checksums, which are computed from the bytes that are written or read
// anyway: no file is read twice.
#pragma once

#include "proto/tensors/checksums.h"

#include <rtrain/safetensors.h>

#include <filesystem>
#include <optional>
#include <string>

namespace rtrain {

/// save_safetensors(), and what the file now has to be.
[[nodiscard]] tensors::Checksum save_summed(const std::filesystem::path& path, const SafeTensors& content);

/// load_safetensors() of a file that has to be `expected`; nullopt: that is not known.
/// @throws std::runtime_error as load_safetensors(); with both checksums when the file has another one.
[[nodiscard]] SafeTensors load_checked(const std::filesystem::path& path,
                                       const std::optional<tensors::Checksum>& expected);

/// @throws std::runtime_error with the file, what it is, what it has to be and the way out, unless `found` is
/// `expected`.
void require_same(const std::filesystem::path& path, const tensors::Checksum& expected,
                  const tensors::Checksum& found);

}  // namespace rtrain
