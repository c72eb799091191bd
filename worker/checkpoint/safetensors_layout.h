// Where each tensor lies in a safetensors file.
#pragma once

#include <rtrain/state_tree.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace rtrain::files {

struct SafetensorsLayout {
  struct Placed {
    const StatePiece* piece;
    std::uint64_t at;  ///< of the whole tensor's first byte, in the file
  };
  std::string head;             ///< the first bytes of the file
  std::vector<Placed> tensors;  ///< in the order of the file
  std::uint64_t size = 0;       ///< of the file
};

/// It depends on names, whole shapes and types only, and so is the same on every rank. @lifetime of the
/// result: `tree`. @param path for errors.
/// @throws std::runtime_error names path and tensor: a type that the format does not have, or a layout that
/// is not strided; a header that is too large.
[[nodiscard]] SafetensorsLayout lay_out(const std::filesystem::path& path, const StateTree& tree,
                                        const std::map<std::string, std::string>& metadata);

}  // namespace rtrain::files
