// Files of safetensors: opened without reading the tensors, and written piece by piece.
#pragma once

#include "proto/tensors/safetensors_header.h"
#include "proto/tensors/tensor.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::tensors {

struct SafetensorsFile {
  std::shared_ptr<const os::OpenFile> file;
  std::vector<Tensor> tensors;  ///< in the order of the file
  std::map<std::string, std::string> metadata;
};

/// Reads the header. kNotFound, or kIo with the file and what is wrong with it.
[[nodiscard]] Result<SafetensorsFile> open_safetensors(const std::string& path);

/// Writes beside and renames. Tensors with gaps become contiguous, and what several share is written for
/// each. kIo names what the format cannot hold.
[[nodiscard]] Result<Done> write_safetensors(const std::string& path, const std::vector<Tensor>& tensors,
                                             const std::map<std::string, std::string>& metadata);

}  // namespace rtrain::tensors
