// What all readers of safetensors files do first.
#pragma once

#include "common/base/crc32c.h"
#include "proto/tensors/safetensors_header.h"

#include <rtrain/checkpoint_io.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace rtrain::files {

struct SafetensorsHead {
  std::string bytes;  ///< the first of the file: the data follows
  tensors::SafetensorsHeader header;
};

/// @param path for errors. @throws std::runtime_error names path and fault.
[[nodiscard]] SafetensorsHead read_head(CheckpointFile& file, const std::filesystem::path& path);

/// In pieces that stay in a cache between the system call and the checksum.
void read_summed(CheckpointFile& file, void* into, std::size_t size, std::uint64_t at, Crc32c& crc);

/// @throws std::runtime_error a BOOL that is neither 0 nor 1: names path and tensor.
void require_booleans(const torch::Tensor& tensor, const std::string& name,
                      const std::filesystem::path& path);

}  // namespace rtrain::files
